"""Finds the vocabulary of a run: given, learned, or already in the folder."""

import dataclasses
import itertools

from language_model.words import WordVocabulary, count_words
from translation.text.tokenizer.adopted import adopt_tokenizer
from translation.text.tokenizer.training import train_tokenizer


def make_vocabulary(config, folder, corpus, log):
    """Leaves a vocabulary in the folder, if there is none.

    Args:
        config: `LmConfig`.
        folder: `LmFolder`.
        corpus: The training corpus.
        log: Function of one line of text.

    Raises:
        TokenizerError, ValueError: if it cannot be made.
    """
    if folder.vocabulary_path(config.vocabulary_kind).exists():
        return
    if config.vocabulary_file:
        vocabulary = _given(config)
    else:
        kind, size = config.vocabulary_kind, config.model.vocab_size
        log(f"Learning a vocabulary of {size:,} {kind} ...")
        lines = itertools.islice(corpus.read(), config.vocabulary_lines)
        if kind == "words":
            vocabulary = count_words(lines, size)
        else:
            vocabulary = train_tokenizer(
                list(lines), size, config.vocabulary_type
            )
    folder.save_vocabulary(config, vocabulary)


def _given(config):
    if config.vocabulary_kind == "words":
        return WordVocabulary.load(config.vocabulary_file)
    return adopt_tokenizer(config.vocabulary_file)


def with_vocabulary(config, vocabulary):
    """Takes the size of the vocabulary into the configuration."""
    model = dataclasses.replace(config.model, vocab_size=vocabulary.vocab_size)
    return dataclasses.replace(config, model=model)
