"""The residual block, against sums written out by hand."""

import keras
import numpy as np
import pytest

from moe_keras import ProjectedLSTM
from translation.model.residual import Residual

B, T, D, CONTEXT = 2, 3, 4, 5


@keras.saving.register_keras_serializable(package="residual_test")
class FirstColumns(keras.layers.Layer):
    """Gives `factor` times the first columns, zeros at padding."""

    def __init__(self, width, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.width, self.factor = width, factor
        self.supports_masking = True

    def build(self, input_shape):
        self.built_for = tuple(input_shape)

    def call(self, inputs, mask=None, training=False):
        outputs = self.factor * inputs[..., : self.width]
        if mask is not None:
            outputs *= keras.ops.cast(mask, outputs.dtype)[..., None]
        return outputs


def _random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _lstm_block(**kwargs):
    return Residual(ProjectedLSTM(6, D, return_sequences=True), **kwargs)


def test_adds_the_layers_output_to_its_input():
    # 3 + 2 * 3 = 9
    block = Residual(FirstColumns(D, factor=2.0))
    inputs = np.full((B, T, D), 3.0, "float32")
    np.testing.assert_array_equal(block(inputs), np.full((B, T, D), 9.0))


def test_activation_stands_before_the_sum():
    block = Residual(FirstColumns(D, factor=2.0), activation="sigmoid")
    x = _random(B, T, D)
    expected = x + 1 / (1 + np.exp(-2 * x))
    np.testing.assert_allclose(block(x), expected, rtol=1e-5)


def test_dropout_stands_behind_the_activation():
    # Before it, what is dropped would add sigmoid(0) = 1/2 and not 0; what
    # is kept is divided by 1 - 0.75.
    block = Residual(FirstColumns(D), dropout=0.75, activation="sigmoid")
    x = _random(20, T, D)
    added = np.array(block(x, training=True)) - x
    whole = 4 / (1 + np.exp(-x))
    kept = added > 0.01
    assert 0.15 < kept.mean() < 0.35
    np.testing.assert_allclose(added[kept], whole[kept], rtol=1e-4)
    np.testing.assert_allclose(added[~kept], 0.0, atol=1e-6)


def test_input_itself_is_never_dropped():
    block = Residual(FirstColumns(D, factor=0.0), dropout=0.9)
    x = _random(B, T, D)
    np.testing.assert_array_equal(block(x, training=True), x)


def test_nothing_is_dropped_outside_training():
    block = Residual(FirstColumns(D), dropout=0.9)
    x = _random(B, T, D)
    np.testing.assert_allclose(block(x), 2 * x)


def test_context_joins_the_layers_input_and_not_the_sum():
    # The layer sees [x, context], D + CONTEXT wide, and gives its first D.
    block = Residual(FirstColumns(D))
    x, context = _random(B, T, D), _random(B, T, CONTEXT, seed=1)
    outputs = block(x, context=context)
    assert block.layer.built_for[-1] == D + CONTEXT
    np.testing.assert_allclose(outputs, 2 * x)


def test_context_reaches_a_recurrent_layer():
    block = _lstm_block()
    x, context = _random(B, T, D), _random(B, T, CONTEXT, seed=1)
    outputs = block(x, context=context)
    joined = np.concatenate([x, context], axis=-1)
    np.testing.assert_allclose(outputs, x + block.layer(joined), atol=1e-6)


def test_mask_reaches_the_layer():
    block = Residual(FirstColumns(D))
    x = _random(1, T, D)
    mask = np.array([[True, True, False]])
    expected = x * np.array([2.0, 2.0, 1.0])[None, :, None]
    np.testing.assert_allclose(block(x, mask=mask), expected)


@pytest.mark.parametrize("with_context", [False, True])
def test_steps_equal_the_call(with_context):
    block = _lstm_block(dropout=0.5)
    x = _random(B, T, D)
    context = _random(B, T, CONTEXT, seed=1) if with_context else None
    whole = np.array(block(x, context=context))
    state = block.layer.initial_state(B)
    for time in range(T):
        now = context[:, time] if with_context else None
        output, state = block.step(x[:, time], state, now)
        np.testing.assert_allclose(output, whole[:, time], atol=1e-6)


def test_config_makes_the_same_block():
    block = _lstm_block(dropout=0.25, activation="sigmoid", name="block")
    stored = keras.saving.serialize_keras_object(block)
    again = keras.saving.deserialize_keras_object(stored)
    assert again.get_config() == block.get_config()
    x = _random(B, T, D)
    expected = block(x)
    again(x)
    again.set_weights(block.get_weights())
    np.testing.assert_array_equal(again(x), expected)


def test_works_in_a_functional_model():
    inputs = keras.Input((None, D))
    model = keras.Model(inputs, _lstm_block()(inputs))
    assert model.output_shape == (None, None, D)
    assert model(_random(B, T, D)).shape == (B, T, D)
