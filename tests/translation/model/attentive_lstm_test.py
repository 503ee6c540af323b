"""`AttentiveLSTM` against its own steps, differentiated by TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from translation.model.attention import (
    AdditiveAttention,
    DotAttention,
    ProductAttention,
)
from translation.model.attentive_lstm import AttentiveLSTM

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(2, 6, 7))  # (B, T, D')
VALUES = RANDOM.normal(size=(2, 5, 4))  # (B, S, D)
SOURCE_MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
MASK = np.array([[1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1]], bool)  # (B, T)
STATE = [RANDOM.normal(size=(2, size)) for size in (3, 8, 4)]  # h, c, context

CASES = {
    "product": lambda **kwargs: (8, 3, ProductAttention(6, **kwargs)),
    "additive": lambda **kwargs: (8, 3, AdditiveAttention(6, **kwargs)),
    "dot": lambda **kwargs: (8, 4, DotAttention(**kwargs)),
    "unprojected": lambda **kwargs: (8, None, ProductAttention(6, **kwargs)),
}


def build(name, dtype="float64", compiled=False):
    units, projection_dim, attention = CASES[name](dtype=dtype)
    layer = AttentiveLSTM(
        units, projection_dim, attention, compiled=compiled, dtype=dtype
    )
    layer(INPUTS[:, :1], attention.prepare(VALUES))
    return layer


def initial_state(layer):
    _, c, context = STATE
    h = np.resize(STATE[0], (2, layer.output_size))
    return [tf.constant(x) for x in (h, c, context)]


def fast(layer, inputs, values, state, mask):
    memory = layer.attention.prepare(values, SOURCE_MASK)
    return layer(
        inputs,
        memory,
        initial_state=state,
        mask=mask,
        return_alignments=True,
    )


def slow(layer, inputs, values, state, mask):
    memory = layer.attention.prepare(values, SOURCE_MASK)
    if mask is not None:  # for the alignments of masked steps
        inputs = tf.where(mask[:, :, None], inputs, 0.0)
    results = []
    for step in range(inputs.shape[1]):
        output, context, alignment, new = layer.step(
            inputs[:, step], state, memory
        )
        if mask is not None:
            real = mask[:, step, None]
            output = tf.where(real, output, 0.0)
            context = tf.where(real, context, 0.0)
            new = [
                tf.where(real, x, y) for x, y in zip(new, state, strict=True)
            ]
        state = new
        results.append((output, context, alignment))
    return [tf.stack(x, axis=1) for x in zip(*results, strict=True)]


def results_and_gradients(run, layer, inputs, values, state, mask):
    sources = [inputs, values, *state]
    variables = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs, contexts, alignments = run(layer, inputs, values, state, mask)
        loss = tf.reduce_sum(tf.sin(outputs)) + tf.reduce_sum(contexts**2)
    gradients = tape.gradient(loss, sources + variables)
    return [outputs, contexts, alignments, *gradients]


def check_equal(actual, expected, tolerance=1e-11):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


class TestAgainstAutomaticDifferentiation:
    @pytest.mark.parametrize("name", CASES)
    @pytest.mark.parametrize("mask", [None, MASK], ids=["plain", "masked"])
    def test_eager(self, name, mask):
        layer = build(name)
        arguments = (
            layer,
            tf.constant(INPUTS),
            tf.constant(VALUES),
            initial_state(layer),
            mask,
        )
        check_equal(
            results_and_gradients(fast, *arguments),
            results_and_gradients(slow, *arguments),
        )

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "name, compiled",
        [("product", False), ("product", True), ("additive", True)],
    )
    def test_graph_of_unknown_batch_and_lengths(self, name, compiled):
        layer = build(name, compiled=compiled)
        state = initial_state(layer)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, 7], tf.float64),
                tf.TensorSpec([None, None, 4], tf.float64),
            ],
            autograph=False,
        )
        def graph(inputs, values):
            return results_and_gradients(
                fast, layer, inputs, values, state, None
            )

        inputs, values = tf.constant(INPUTS), tf.constant(VALUES)
        check_equal(
            graph(inputs, values),
            results_and_gradients(slow, layer, inputs, values, state, None),
        )


class TestAttentiveLSTM:
    @pytest.mark.parametrize("name", CASES)
    def test_nan_where_masked_is_in_no_output_and_no_gradient(self, name):
        layer = build(name)
        state = initial_state(layer)

        def results(filler):
            inputs = tf.constant(np.where(MASK[:, :, None], INPUTS, filler))
            values = np.where(SOURCE_MASK[:, :, None], VALUES, filler)
            return results_and_gradients(
                fast, layer, inputs, tf.constant(values), state, MASK
            )

        for one, other in zip(results(np.nan), results(0.0), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_gradients_against_finite_differences(self):
        layer = build("product")
        inputs, values = tf.constant(INPUTS), tf.constant(VALUES)
        state = initial_state(layer)
        results = results_and_gradients(
            fast, layer, inputs, values, state, None
        )
        gradients = results[-len(layer.trainable_weights) :]

        def loss():
            outputs, contexts, _ = fast(layer, inputs, values, state, None)
            return tf.reduce_sum(tf.sin(outputs)) + tf.reduce_sum(contexts**2)

        for weight, gradient in zip(
            layer.trainable_weights, gradients, strict=True
        ):
            # Along a random direction d: (L(w + e d) - L(w - e d)) / 2 e.
            before = weight.numpy()
            direction = RANDOM.normal(size=before.shape)
            losses = []
            for sign in (1, -1):
                weight.assign(before + sign * 1e-5 * direction)
                losses.append(loss())
            weight.assign(before)
            slope = (losses[0] - losses[1]) / 2e-5
            np.testing.assert_allclose(
                np.sum(gradient * direction), slope, rtol=1e-6, atol=1e-8
            )

    def test_shapes_without_and_with_alignments(self):
        layer = build("product")
        memory = layer.attention.prepare(VALUES)
        shapes = [tuple(x.shape) for x in layer(INPUTS, memory)]
        assert shapes == [(2, 6, 3), (2, 6, 4)]
        *_, alignments = layer(INPUTS, memory, return_alignments=True)
        assert alignments.shape == (2, 6, 5)

    def test_context_reaches_the_next_step(self):
        layer = build("product")
        memory = layer.attention.prepare(VALUES)
        h, c, context = initial_state(layer)
        inputs = INPUTS[:, 0]
        one, *_ = layer.step(inputs, [h, c, context], memory)
        other, *_ = layer.step(inputs, [h, c, 2 * context], memory)
        assert np.abs(one - other).max() > 1e-3

    def test_outputs_do_not_depend_on_later_inputs(self):
        layer = build("product")
        memory = layer.attention.prepare(VALUES)
        outputs, contexts = layer(INPUTS, memory)
        short_outputs, short_contexts = layer(INPUTS[:, :2], memory)
        check_equal(
            [outputs[:, :2], contexts[:, :2]], [short_outputs, short_contexts]
        )

    def test_half_precision_is_near_full_precision(self):
        half = build("product", dtype="mixed_bfloat16")
        full = build("product", dtype="float32")
        full.set_weights(half.get_weights())
        results = half(INPUTS, half.attention.prepare(VALUES, SOURCE_MASK))
        expected = full(INPUTS, full.attention.prepare(VALUES, SOURCE_MASK))
        for one, other in zip(results, expected, strict=True):
            assert one.dtype == tf.bfloat16
            np.testing.assert_allclose(
                tf.cast(one, tf.float32), other, atol=0.1
            )
        memory = half.attention.prepare(VALUES, SOURCE_MASK)
        state = half.initial_state(memory)
        output, _, alignment, state = half.step(INPUTS[:, 0], state, memory)
        dtypes = [x.dtype.name for x in (output, alignment, *state)]
        assert dtypes == 2 * ["bfloat16", "float32"] + ["bfloat16"]
        check_equal(
            [tf.cast(output, tf.float32)],
            [tf.cast(results[0][:, 0], tf.float32)],
            tolerance=0.01,
        )

    def test_saves_with_a_model(self, tmp_path):
        model = Decoder(build("product", dtype="float32"))
        expected = model((INPUTS, VALUES))
        model.save(tmp_path / "decoder.keras")
        loaded = keras.saving.load_model(tmp_path / "decoder.keras")
        check_equal([loaded((INPUTS, VALUES))], [expected], tolerance=1e-6)


@keras.saving.register_keras_serializable(package="test")
class Decoder(keras.Model):
    def __init__(self, lstm, **kwargs):
        super().__init__(**kwargs)
        self.lstm = lstm

    def call(self, inputs):
        target, source = inputs
        outputs, _ = self.lstm(target, self.lstm.attention.prepare(source))
        return outputs

    def get_config(self):
        return {"lstm": keras.saving.serialize_keras_object(self.lstm)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["lstm"]))
