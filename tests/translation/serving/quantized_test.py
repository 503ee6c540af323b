"""Weights in 8 bits: what is kept, what is computed, what is saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import SparseMoE
from translation.serving.quantized import quantize
from translation.serving.served_model import ServedModel

SIZE = 64  # of a matrix: 4,096 entries


class TestQuantize:
    def test_no_value_is_off_by_more_than_half_a_step(self):
        values = np.random.default_rng(0).normal(size=(5, 30, 40))
        integers, scales = quantize(values)
        assert integers.dtype == np.int8 and scales.dtype == np.float32
        assert np.abs(integers).max() == 127
        # 1e-6: values beside the middle of two steps, in float32.
        off = np.abs(integers * scales - values)
        assert (off <= 0.5 * scales + 1e-6).all()

    def test_each_expert_and_channel_has_a_scale_of_its_own(self):
        values = np.random.default_rng(0).normal(size=(2, 30, 40))
        columns = np.logspace(0, 3, 40)
        integers, scales = quantize(values * columns)
        assert scales.shape == (2, 1, 40)
        relative = (integers * scales / columns - values).std()
        # Uniform rounding by steps of 3 / 127 has a deviation of 0.007.
        assert relative < 0.01

    def test_rows_are_the_channels_where_they_are_closer(self):
        values = np.random.default_rng(0).normal(size=(30, 40))
        assert quantize(values * np.logspace(0, 5, 30)[:, None])[1].shape == (
            30,
            1,
        )

    def test_zeros_stay_zeros(self):
        integers, scales = quantize(np.zeros((3, 4)))
        assert not integers.any() and np.isfinite(scales).all()


class Lengths:
    """A tokenizer that does not cut."""

    vocab_size = 1


class Steps(ServedModel):
    """Puts its input through a model, in a loop as a search does."""

    kind = "steps"
    specs = {"steps": ("steps", [tf.TensorSpec([None, SIZE], name="x")])}

    def __init__(self, model):
        super().__init__(Lengths(), "steps")
        self._call = lambda x: model(x, training=False)

    def steps(self, x):
        _, found = tf.while_loop(
            lambda i, x: i < 3,
            lambda i, x: (i + 1, self._call(x)),
            (tf.constant(0), x),
        )
        return {"found": found}


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((SIZE,)),
            keras.layers.Dense(SIZE, activation="tanh", name="dense"),
            SparseMoE(num_experts=4, k=2, hidden_dim=SIZE, name="moe"),
        ]
    )
    gate = model.get_layer("moe").gate
    gate.gate_kernel.assign(np.random.normal(size=(SIZE, 4)))
    return model


def rounded(model):
    """The same model whose matrices are what 8 bits make of them."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in (copy.get_layer("dense"), copy.get_layer("moe").experts):
        for weight in layer.weights:
            if len(weight.shape) >= 2 and "kernel" in weight.name:
                integers, scales = quantize(weight.numpy())
                weight.assign(integers * scales)
    return copy


class TestModels:
    def test_products_are_those_of_the_rounded_weights(self, model):
        x = np.random.default_rng(1).normal(size=(7, SIZE)).astype("float32")
        served = Steps(model)
        served.quantize([model])
        found = served.signatures()["steps"](tf.constant(x))["found"]
        expected = Steps(rounded(model)).steps(tf.constant(x))["found"]
        # The same products in float32, in another graph.
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        exact = Steps(model).steps(tf.constant(x))["found"]
        assert np.abs(found - exact).max() > 1e-4  # they are rounded

    def test_what_is_saved_is_a_quarter_and_the_gates(self, model, tmp_path):
        sizes = {}
        for name in ("whole", "small"):
            served = Steps(model)
            if name == "small":
                served.quantize([model])
            functions = served.signatures()
            sizes[name] = sum(
                x.shape.num_elements() * x.dtype.size for x in served.weights
            )
            tf.saved_model.save(
                served, str(tmp_path / name), signatures=functions
            )
        floats = [x for x in served.weights if x.dtype == tf.float32]
        # Gate and biases, and a scale for each row or column of 9 matrices.
        biases = SIZE + 4 * (SIZE + SIZE)
        assert sum(x.shape.num_elements() for x in floats) == (
            4 * SIZE + biases + 9 * SIZE
        )
        assert sizes["small"] < 0.3 * sizes["whole"]
        loaded = tf.saved_model.load(str(tmp_path / "small"))
        x = tf.ones([3, SIZE])
        np.testing.assert_allclose(
            loaded.signatures["steps"](x=x)["found"],
            functions["steps"](x)["found"],
            rtol=1e-5,
            atol=1e-6,
        )

    def test_the_model_itself_stays_as_it_is(self, model):
        before = model.get_weights()
        served = Steps(model)
        served.quantize([model])
        served.signatures()
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert model(tf.ones([1, SIZE])).shape == (1, SIZE)
