"""The best tokens of a row, against sorting everything."""

import numpy as np
import pytest
import tensorflow as tf

from translation.search.top_tokens import log_normalizer, top_tokens


class TestTopTokens:
    @pytest.mark.parametrize("size", [7, 999, 1000, 1013, 2600])
    def test_equals_sorting_the_whole_vocabulary(self, size):
        rng = np.random.default_rng(size)
        # Rounded, so that there are ties, which go to the lower id.
        scores = np.round(rng.normal(size=(11, size)), 1).astype("float32")
        best, ids = top_tokens(tf.constant(scores), k=6)
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :6]
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_array_equal(
            best, np.take_along_axis(scores, expected, 1)
        )

    def test_a_vocabulary_as_small_as_k(self):
        _, ids = top_tokens(tf.constant([[0.1, 0.3, 0.2]]), k=3)
        assert ids.numpy().tolist() == [[1, 2, 0]]


class TestLogNormalizer:
    def test_it_is_the_log_of_the_sum_of_exponentials(self):
        scores = np.random.default_rng(1).normal(size=(5, 9)).astype("float32")
        found = log_normalizer(
            tf.constant(scores), scores.max(1, keepdims=True)
        )
        np.testing.assert_allclose(
            found, np.log(np.exp(scores).sum(1)), rtol=1e-5
        )

    def test_great_scores_do_not_overflow(self):
        scores = tf.constant([[1000.0, 1000.0, -1000.0]])
        found = log_normalizer(scores, scores[:, :1])
        np.testing.assert_allclose(found, [1000 + np.log(2)])

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    @pytest.mark.parametrize("size", [5, 1200])
    def test_a_spoilt_row_shows(self, bad, size):
        scores = np.zeros((3, size), "float32")
        scores[1, 3] = bad
        best, _ = top_tokens(tf.constant(scores), k=2)
        normalizer = log_normalizer(tf.constant(scores), best[:, :1])
        assert np.isfinite(normalizer).tolist() == [True, False, True]
