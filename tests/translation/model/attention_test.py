"""The three attentions, one decoder step at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src import testing

from translation.model.attention import (
    AdditiveAttention,
    DotAttention,
    ProductAttention,
)

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.normal(size=(3, 5, 4)).astype("float32")  # (B, S, D)
QUERY = RANDOM.normal(size=(3, 4)).astype("float32")  # (B, P), here P = D
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]], bool)

ATTENTIONS = {
    "product": lambda **kwargs: ProductAttention(6, **kwargs),
    "additive": lambda **kwargs: AdditiveAttention(6, **kwargs),
    "dot": lambda **kwargs: DotAttention(**kwargs),
}


def attend(attention, query=QUERY, values=VALUES, mask=MASK):
    return attention(query, attention.prepare(values, mask))


def softmax(scores):
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


@pytest.mark.parametrize("name", ATTENTIONS)
class TestEveryAttention:
    def test_context_is_the_mean_weighted_by_the_alignment(self, name):
        context, alignment = attend(ATTENTIONS[name]())
        np.testing.assert_allclose(np.sum(alignment, axis=1), 1, rtol=1e-5)
        expected = np.einsum("bs,bsd->bd", alignment, VALUES)
        np.testing.assert_allclose(context, expected, atol=1e-6)

    def test_masked_positions_get_exactly_nothing(self, name):
        attention = ATTENTIONS[name]()
        context, alignment = attend(attention)
        np.testing.assert_array_equal(np.asarray(alignment)[~MASK], 0.0)
        for spoilt in (1e3, np.nan):
            values = np.where(MASK[:, :, None], VALUES, spoilt)
            other, _ = attend(attention, values=values)
            np.testing.assert_array_equal(context, other)

    def test_sentence_without_real_tokens_stays_finite(self, name):
        attention = ATTENTIONS[name]()
        query = tf.constant(QUERY)
        with tf.GradientTape() as tape:
            tape.watch(query)
            context, alignment = attend(
                attention, query, mask=np.zeros_like(MASK)
            )
            loss = tf.reduce_sum(context**2)
        np.testing.assert_allclose(alignment, np.full((3, 5), 0.2), rtol=1e-5)
        assert np.isfinite(tape.gradient(loss, query)).all()

    def test_half_precision_has_its_softmax_in_float32(self, name):
        attention = ATTENTIONS[name](dtype="mixed_bfloat16")
        full = ATTENTIONS[name]()
        context, alignment = attend(attention)
        expected, _ = attend(full)
        if attention.weights:
            full.set_weights(attention.get_weights())
            expected, _ = attend(full)
        assert (context.dtype, alignment.dtype) == (tf.bfloat16, tf.float32)
        np.testing.assert_allclose(
            tf.cast(context, tf.float32), expected, atol=0.05
        )

    def test_no_mask_equals_a_mask_of_ones(self, name):
        attention = ATTENTIONS[name]()
        one, _ = attend(attention, mask=None)
        other, _ = attend(attention, mask=np.ones_like(MASK))
        np.testing.assert_array_equal(one, other)

    def test_config(self, name):
        attention = ATTENTIONS[name]()
        config = keras.saving.serialize_keras_object(attention)
        copy = keras.saving.deserialize_keras_object(config)
        assert copy.get_config() == attention.get_config()


class ScoresTest(testing.TestCase):
    """Scores worked out pair by pair, as the formulas are printed."""

    def check(self, attention, score):
        _, alignment = attend(attention)
        for sentence in range(3):
            keys = VALUES[sentence][MASK[sentence]]
            scores = np.array([score(x, QUERY[sentence]) for x in keys])
            self.assertAllClose(
                np.asarray(alignment)[sentence][MASK[sentence]],
                softmax(scores),
                atol=1e-6,
            )

    def maps(self, attention):
        attend(attention)  # builds it
        query_kernel, scale, key_kernel = attention.get_weights()
        return key_kernel, query_kernel, scale

    def test_product(self):
        attention = ProductAttention(6)
        u, w, v = self.maps(attention)
        self.check(
            attention, lambda x, y: np.sum(v * np.tanh(x @ u) * np.tanh(y @ w))
        )

    def test_additive(self):
        attention = AdditiveAttention(6)
        u, w, v = self.maps(attention)
        self.check(attention, lambda x, y: np.sum(v * np.tanh(x @ u + y @ w)))

    def test_dot(self):
        self.check(DotAttention(), lambda x, y: x @ y)


class ErrorsTest(testing.TestCase):
    def test_dot_attention_needs_equal_sizes(self):
        with pytest.raises(ValueError, match="one size"):
            attend(DotAttention(), query=QUERY[:, :3])

    def test_units_below_one_are_refused(self):
        with pytest.raises(ValueError, match="`units`"):
            ProductAttention(0)
