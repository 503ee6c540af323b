"""Small language models that have yet to be trained, for tests."""

import numpy as np

from language_model.config import LanguageModelConfig
from language_model.model import LanguageModel
from language_model.words import count_words
from translation.text.tokenizer.training import train_tokenizer

LINES = ["a dog sleeps", "the cat sees it", "the dog runs to a cat"]


def make_vocabulary(kind):
    """A vocabulary of the kind `LmConfig.vocabulary_kind`."""
    if kind == "words":
        return count_words(LINES, 20)
    return train_tokenizer(LINES, 280)


def make_model(vocab_size, **fields):
    """A model whose gates send tokens different ways, without training."""
    config = LanguageModelConfig(
        vocab_size=vocab_size,
        **{
            "depth": 8,
            "lstm_units": 8,
            "num_experts": 4,
            "experts_per_token": 2,
            "expert_hidden_dim": 8,
            **fields,
        },
    )
    model = LanguageModel(config)
    model.build()
    rng = np.random.default_rng(2)
    for weight in model.trainable_variables:
        weight.assign(0.5 * rng.normal(size=weight.shape))
    return model
