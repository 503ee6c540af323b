"""Evaluates a language model: perplexity of a text, whole and by label.

B: rows    T: time steps    N: tokens of a batch    D: depth
"""

import contextlib
import math

import numpy as np
import tensorflow as tf

from language_model.generate import token_log_probs
from language_model.words import split_words
from moe_keras.monitoring import uncounted
from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID


class LineLikelihoods:
    """Computes the negative log likelihood of every token of lines.

    Args:
        model: `LanguageModel`.
        vocabulary: `Tokenizer` or `WordVocabulary`.
        options: `BatchOptions`.
        goes_on: bool. Whether lines are running text, each read after those
            before it, or each is read alone.
        counted: bool. Whether MoE layers count the routing.

    Example:

    >>> from language_model.batches import BatchOptions
    >>> from language_model.config import LanguageModelConfig
    >>> from language_model.model import LanguageModel
    >>> from language_model.words import count_words
    >>> words = count_words(["a b"], 6)
    >>> config = LanguageModelConfig(vocab_size=6, depth=4, lstm_units=4)
    >>> model = LanguageModel(config)
    >>> likelihoods = LineLikelihoods(model, words, BatchOptions())
    >>> [len(nll) for nll in likelihoods(["a b", "b"])]  # and the end mark
    [3, 2]
    """

    def __init__(self, model, vocabulary, options, goes_on=True, counted=False):
        self._model = model
        self._vocabulary = vocabulary
        self._rows, self._steps = options.rows, options.time_steps
        self._goes_on = goes_on
        self._counted = counted
        ids = tf.TensorSpec([None, None], tf.int32)
        state = tf.nest.map_structure(
            lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype),
            model.initial_state(1),
        )
        self._batch = tf.function(
            self._batch_eagerly,
            input_signature=[ids, ids, state],
            autograph=False,
        )

    def __call__(self, lines, check=lambda: None):
        """Reads lines.

        Args:
            lines: List of str.
            check: Function that is called after each batch; it may raise.

        Returns:
            List of float arrays, nats of each token of a line, the end mark
            last.
        """
        ids = [np.array([*row, EOS_ID]) for row in self._encode(lines)]
        texts = self._running(ids) if self._goes_on else self._alone(ids)
        found = [None] * len(ids)
        for numbers in texts:
            self._read(numbers, ids, found, check)
        return found

    def _encode(self, lines):
        return self._vocabulary.encode(list(lines))

    def _running(self, ids):
        """Groups consecutive lines so that rows have about equally many ids."""
        lengths = np.cumsum([len(row) for row in ids])
        rows = max(1, min(self._rows, len(ids)))
        ends = np.searchsorted(
            lengths, lengths[-1] * np.arange(1, rows + 1) / rows
        )
        ends = np.minimum(ends + 1, len(ids))
        begins = [0, *ends[:-1]]
        return [
            [range(a, b) for a, b in zip(begins, ends, strict=True) if a < b]
        ]

    def _alone(self, ids):
        """Groups lines of about one length, each a text of its own."""
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        return [
            [[n] for n in order[begin : begin + self._rows]]
            for begin in range(0, len(order), self._rows)
        ]

    def _read(self, texts, ids, found, check):
        """Reads texts, lists of numbers of lines, side by side."""
        targets = [np.concatenate([ids[n] for n in text]) for text in texts]
        inputs = [
            np.concatenate([[BOS_ID, *ids[n][:-1]] for n in text])
            for text in texts
        ]
        length = max(map(len, targets))
        padded = np.full((2, len(texts), length), PAD_ID, np.int32)
        for row, (one, other) in enumerate(zip(inputs, targets, strict=True)):
            padded[0, row, : len(one)] = one
            padded[1, row, : len(other)] = other
        state = self._model.initial_state(len(texts))
        parts = []
        for begin in range(0, length, self._steps):
            check()
            part = padded[:, :, begin : begin + self._steps]
            nll, state = self._batch(*map(tf.constant, part), state)
            parts.append(nll.numpy())
        nll = np.concatenate(parts, 1)
        for row, text in enumerate(texts):
            ends = np.cumsum([len(ids[n]) for n in text])
            for n, end in zip(text, ends, strict=True):
                found[n] = nll[row, end - len(ids[n]) : end]

    def _batch_eagerly(self, ids, targets, state):
        pause = (
            contextlib.nullcontext()
            if self._counted
            else uncounted(self._model)
        )
        with pause:
            log_probs, state = token_log_probs(self._model, ids, targets, state)
        return -log_probs, state


def perplexities(lines, nll, labels=None):
    """Computes perplexities of lines, by the field's conventions.

    Args:
        lines: List of str.
        nll: List of arrays, nats of each token of a line.
        labels: List of str, one for each line, or None.

    Returns:
        dict: `perplexity` per word, the end of a line counted as one;
        `subword_perplexity`, the end mark counted; `bits_per_character`, the
        line feed counted; `words`, `subwords` and `lines`; and with labels
        `by_label`, the same for the lines of each.

    Example:

    >>> result = perplexities(["a b"], [np.log([2.0, 4.0, 8.0])])
    >>> round(result["perplexity"], 3)  # (2 * 4 * 8) ** (1 / 3)
    4.0
    """
    words = sum(len(split_words(line)) + 1 for line in lines)
    subwords = sum(map(len, nll))
    characters = sum(len(line) + 1 for line in lines)
    total = float(sum(map(np.sum, nll)))
    found = {
        "perplexity": perplexity(total, words),
        "subword_perplexity": perplexity(total, subwords),
        "bits_per_character": total / math.log(2) / max(characters, 1),
        "words": words,
        "subwords": subwords,
        "lines": len(lines),
    }
    if labels is not None:
        found["by_label"] = {
            label: perplexities(*_of_label(lines, nll, labels, label))
            for label in sorted({*labels})
        }
    return found


def _of_label(lines, nll, labels, label):
    chosen = [n for n, other in enumerate(labels) if other == label]
    return [lines[n] for n in chosen], [nll[n] for n in chosen]


def perplexity(total, count):
    """Computes the perplexity of nats over words; e^50 at most."""
    return math.exp(min(total / max(count, 1), 50.0))


class DevEvaluation:
    """Evaluates a model on the dev corpus by its perplexity.

    Args:
        config: `LmConfig`.
        model: `LanguageModel`.
        vocabulary: `Tokenizer` or `WordVocabulary`.
        lines: List of str.
    """

    about = "The score on the dev corpus is minus the perplexity per word."

    def __init__(self, config, model, vocabulary, lines):
        self._lines = lines
        self._likelihoods = LineLikelihoods(
            model, vocabulary, config.batches, not config.batches.by_lines
        )

    def __call__(self, check=lambda: None):
        found = perplexities(self._lines, self._likelihoods(self._lines, check))
        names = ("perplexity", "subword_perplexity", "bits_per_character")
        return {
            "score": -found["perplexity"],
            **{name: found[name] for name in names},
        }
