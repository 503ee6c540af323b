"""Likelihoods of lines against one line at a time, perplexities by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from language_model.batches import BatchOptions
from language_model.config import LanguageModelConfig
from language_model.model import LanguageModel
from language_model.words import count_words
from trainers.language_model.evaluation import LineLikelihoods, perplexities

LINES = ["a b", "", "c a b a", "b", "a a a a a a a", "c"]
WORDS = count_words(LINES, 20)
MODEL = LanguageModel(
    LanguageModelConfig(
        vocab_size=WORDS.vocab_size,
        depth=4,
        lstm_units=5,
        num_experts=4,
        experts_per_token=2,
    )
)


def _by_hand(lines, goes_on):
    """One subword after the other, step by step."""
    state, found = MODEL.initial_state(1), []
    for line in lines:
        if not goes_on:
            state = MODEL.initial_state(1)
        nll, last = [], 1
        for target in [*WORDS.encode([line])[0], 2]:
            logits, state = MODEL.step(tf.constant([last]), state)
            nll.append(-tf.nn.log_softmax(logits)[0, target].numpy())
            last = target
        found.append(nll)
    return found


@pytest.mark.parametrize("rows, steps", [(1, 4), (3, 4), (4, 50)])
def test_each_line_alone_whatever_the_batch(rows, steps):
    options = BatchOptions(rows=rows, time_steps=steps)
    measure = LineLikelihoods(MODEL, WORDS, options, goes_on=False)
    for one, other in zip(
        measure(LINES), _by_hand(LINES, goes_on=False), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_running_text_goes_on_from_line_to_line():
    options = BatchOptions(rows=1, time_steps=3)
    measure = LineLikelihoods(MODEL, WORDS, options)
    for one, other in zip(
        measure(LINES), _by_hand(LINES, goes_on=True), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_every_line_is_read_once_in_several_rows():
    options = BatchOptions(rows=4, time_steps=3)
    found = LineLikelihoods(MODEL, WORDS, options)(LINES)
    lengths = [len(line.split()) + 1 for line in LINES]
    assert [len(nll) for nll in found] == lengths


def test_perplexities_by_hand():
    # Two lines, 3 words and 2 ends; nats 1 + 2, 3 + 1 + 1: 8 in all.
    lines = ["ab", "a b"]
    nll = [np.array([1.0, 2.0]), np.array([3.0, 1.0, 1.0])]
    found = perplexities(lines, nll, labels=["x", "y"])
    assert found["perplexity"] == pytest.approx(math.exp(8 / 5))
    assert found["subword_perplexity"] == pytest.approx(math.exp(8 / 5))
    # 2 + 3 characters and 2 line feeds.
    assert found["bits_per_character"] == pytest.approx(8 / math.log(2) / 7)
    assert found["by_label"]["x"]["perplexity"] == pytest.approx(
        math.exp(3 / 2)
    )
    assert found["by_label"]["y"]["words"] == 3
