"""Cuts fall within words, as often as they should, and lose nothing."""

import numpy as np
import tensorflow as tf

from translation.text.tokenizer.word_cuts import cut_words

TEXTS = ["a tree", "", " zwei Bäume ", "樹 x"]


def cut(texts, probability, seed=0):
    parts = cut_words(tf.constant(texts), probability, (seed, 0))
    return [[part.decode() for part in row] for row in parts.to_list()]


def test_every_place_within_a_word_can_be_cut():
    assert cut(TEXTS, 1.0) == [
        ["a t", "r", "e", "e"],
        [],
        [" z", "w", "e", "i B", "ä", "u", "m", "e "],
        ["樹 x"],
    ]


def test_no_cuts_leave_whole_strings():
    assert cut(TEXTS, 0.0) == [[text] if text else [] for text in TEXTS]


def test_parts_joined_are_the_string():
    for seed in range(9):
        assert ["".join(row) for row in cut(TEXTS, 0.5, seed)] == TEXTS


def test_rate_of_cuts():
    # 999 places in each row; two standard deviations of the mean of 50 rows
    # are 2 sqrt(0.3 * 0.7 / 49,950) = 0.004.
    rows = cut(["x" * 1_000] * 50, 0.3)
    rates = [(len(row) - 1) / 999 for row in rows]
    np.testing.assert_allclose(np.mean(rates), 0.3, atol=0.004)
    assert len(set(map(tuple, rows))) == 50


def test_no_strings_and_bytes_that_are_not_utf8():
    assert cut_words(tf.zeros([0], tf.string), 0.5, (0, 0)).shape[0] == 0
    assert cut([b"a\xffb"], 0.0) == [["a\ufffdb"]]
