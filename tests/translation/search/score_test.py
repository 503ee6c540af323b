"""Scores of given translations, against the search and against the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from translation.model.config import TranslatorConfig
from translation.model.translator import Translator
from translation.search.beam_options import BeamOptions
from translation.search.score import TextScorer, score_batch
from translation.search.translate import translate_batch
from translation.text.special_ids import BOS_ID
from translation.text.tokenizer.training import train_tokenizer

SENTENCES = ["a small dog", "the dog sleeps", "a cat sees the small dog", "oh"]
OPTIONS = BeamOptions(3, num_translations=3)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 290)


@pytest.fixture(scope="module")
def model(tokenizer):
    keras.utils.set_random_seed(1)
    config = TranslatorConfig(
        vocab_size=tokenizer.vocab_size,
        depth=8,
        lstm_units=8,
        num_experts=4,
        expert_hidden_dim=8,
        attention_units=8,
    )
    model = Translator(config)
    ids = np.ones((1, 2), "int32")
    model({"source": ids, "target_in": ids})
    rng = np.random.default_rng(1)  # untrained gates send all one way
    for weight in model.trainable_variables:
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return model


class TestScoreBatch:
    def test_teacher_forcing_gives_the_log_probabilities_of_the_call(
        self, model
    ):
        source = np.array([[5, 6, 7, 2], [8, 2, 0, 0]])
        target = np.array([[9, 4, 2], [7, 2, 0]])
        target_in = np.array([[BOS_ID, 9, 4], [BOS_ID, 7, 0]])
        logits = model({"source": source, "target_in": target_in})
        log_probs = tf.nn.log_softmax(logits).numpy()
        scores = score_batch(model, source, target)
        for row, length in enumerate((3, 2)):
            expected = log_probs[row, range(length), target[row, :length]]
            found = scores.token_log_probs[row].numpy()
            np.testing.assert_allclose(found[:length], expected, rtol=1e-4)
            np.testing.assert_allclose(
                scores.log_probs[row], sum(expected), rtol=1e-4
            )
        assert scores.lengths.numpy().tolist() == [3, 2]
        assert scores.token_log_probs[1, 2] == 0

    def test_what_the_search_found_has_the_score_that_it_had_there(self, model):
        source = np.array([[5, 6, 7, 2], [8, 2, 0, 0]])
        found = translate_batch(model, source, OPTIONS, return_alignments=True)
        for n in range(3):
            scores = score_batch(model, source, found.ids[:, n], OPTIONS)
            np.testing.assert_allclose(
                scores.scores, found.scores[:, n], rtol=1e-4
            )
            np.testing.assert_allclose(
                scores.log_probs, found.log_probs[:, n], rtol=1e-4
            )
            np.testing.assert_allclose(
                scores.alignments, found.alignments[:, n], atol=1e-5
            )


class TestTextScorer:
    def test_pairs_come_back_in_order_and_alone_as_together(
        self, model, tokenizer
    ):
        scorer = TextScorer(model, tokenizer, OPTIONS, batch_tokens=40)
        targets = ["", *SENTENCES[:2], "x " * 3000]
        together = scorer(SENTENCES, targets)
        for source, target, expected in zip(
            SENTENCES, targets, together, strict=True
        ):
            [alone] = scorer([source], [target])
            assert alone.tokens == expected.tokens
            np.testing.assert_allclose(alone.score, expected.score, rtol=1e-5)
            np.testing.assert_allclose(
                sum(expected.token_log_probs), expected.log_prob, rtol=1e-5
            )
        assert together[0].tokens == ["</s>"]
        assert len(together[3].tokens) == 522  # 2 * 256 + 10

    def test_lists_of_different_lengths_are_refused(self, model, tokenizer):
        with pytest.raises(ValueError, match="Received: 2 and 1"):
            TextScorer(model, tokenizer)(["a", "b"], ["c"])
