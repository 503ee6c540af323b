"""Experts of the user's own: what they are called with, and what they keep."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_experts import COUNTS, OUT, ROWS, C, D, E, random_rows

from moe_keras import Routing, SparseMoE
from moe_keras.experts import ExpertList


class Recorder(keras.layers.Layer):
    """An expert that notes what it was called with, and trains a scale."""

    def build(self, input_shape):
        kwargs = {"trainable": False, "initializer": "zeros"}
        self.calls = self.add_weight(name="calls", **kwargs)
        self.rows = self.add_weight(name="rows", **kwargs)
        self.scale = self.add_weight(name="scale", initializer="ones")

    def call(self, inputs):
        self.calls.assign_add(1)
        self.rows.assign_add(tf.cast(tf.shape(inputs)[0], "float32"))
        # NaN for no rows at all.
        self.add_loss(tf.reduce_mean(inputs**2))
        return inputs * self.scale

    def compute_output_shape(self, input_shape):
        return input_shape


class FixedGate(keras.layers.Layer):
    """Sends each token to the expert that its first number names."""

    def __init__(self, num_experts, **kwargs):
        super().__init__(**kwargs)
        self.num_experts, self.k = num_experts, 1

    def call(self, inputs, mask=None, training=False):
        chosen = tf.cast(inputs[:, :1], "int32")
        zeros = tf.zeros(self.num_experts)
        return Routing(chosen, tf.ones_like(inputs[:, :1]), zeros, zeros)


def batchnorm():
    return keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-6)


def batches_of(x_SD):
    """Rows of `COUNTS` as batches `(E, C, D)`; slots without a row are NaN."""
    x_ECD = np.full((E, C, D), np.nan, "float32")
    start = np.cumsum([0, *COUNTS])
    for e, count in enumerate(COUNTS):
        x_ECD[e, :count] = x_SD[start[e] : start[e + 1]]
    return x_ECD


def run_as(layout, experts, x_SD, as_graph):
    """Outputs of the rows in use, losses, and gradients."""
    x = tf.constant(x_SD, "float32")
    if layout == "batches":
        x = tf.constant(batches_of(x_SD))
    variables = [v.value for v in experts.trainable_variables]

    def run(x):
        with tf.GradientTape() as tape:
            y = experts(x, counts=tf.constant(COUNTS), training=True)
            loss = tf.reduce_sum(tf.where(tf.math.is_nan(y), 0.0, y))
        losses = list(experts.losses)
        return y, losses, tape.gradient(loss, variables)

    if as_graph:
        signature = tf.TensorSpec([None] * (x.shape.rank - 1) + [D])
        run = tf.function(run, input_signature=[signature], autograph=False)
    y, losses, gradients = run(x)
    if layout == "batches":
        y = np.concatenate([y[e, :count] for e, count in enumerate(COUNTS)])
    return np.array(y)[: sum(COUNTS)], losses, gradients


ways = pytest.mark.parametrize(
    "layout, as_graph",
    [
        ("segments", False),
        ("segments", True),
        ("batches", False),
        ("batches", True),
    ],
)


@ways
def test_experts_are_called_with_their_own_tokens_and_not_for_none(
    layout, as_graph
):
    experts = ExpertList([Recorder() for _ in range(E)])
    experts.build((E, None, D))
    x = random_rows().astype("float32")
    y, losses, gradients = run_as(layout, experts, x, as_graph)
    np.testing.assert_allclose(y, x[: sum(COUNTS)])
    busy = np.array(COUNTS) > 0
    calls = [float(expert.calls) for expert in experts.experts]
    assert calls == [float(b) for b in busy]
    assert [int(expert.rows) for expert in experts.experts] == COUNTS
    parts = np.split(x, np.cumsum(COUNTS))[:E]
    # Each busy expert adds the mean of its squares.
    expected = sum(np.mean(part**2) for part in parts if len(part))
    np.testing.assert_allclose(sum(losses), expected, rtol=1e-5)
    # y = scale * x: the gradient of scale is the sum of the tokens.
    for part, gradient in zip(parts, gradients, strict=True):
        np.testing.assert_allclose(gradient, part.sum(), rtol=1e-4, atol=1e-6)


@ways
def test_statistics_are_those_of_an_experts_tokens(layout, as_graph):
    experts = ExpertList([batchnorm() for _ in range(E)])
    experts.build((E, None, D))
    x = 10 + random_rows().astype("float32")
    y, _, _ = run_as(layout, experts, x, as_graph)
    parts = np.split(x, np.cumsum(COUNTS))[:E]
    for part, expert in zip(parts, experts.experts, strict=True):
        if len(part):
            mean, variance = part.mean(0), part.var(0)
        else:  # as they were
            mean, variance = np.zeros(D), np.ones(D)
        np.testing.assert_allclose(expert.moving_mean, mean, rtol=1e-4)
        np.testing.assert_allclose(
            expert.moving_variance, variance, rtol=1e-3, atol=1e-4
        )
    first = parts[0]
    expected = (first - first.mean(0)) / np.sqrt(first.var(0) + 1e-6)
    np.testing.assert_allclose(y[: len(first)], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("capacity_factor", [None, 1.0])
def test_batch_normalization_trains_in_fit_where_experts_idle(capacity_factor):
    layer = SparseMoE(
        4,
        gate=FixedGate(4),
        expert=batchnorm,
        capacity_factor=capacity_factor,
    )
    model = keras.Sequential([keras.Input((D,)), layer])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, D)).astype("float32")
    x[:, 0] = [0, 0, 0, 0, 2, 2, 3, 3]  # nobody asks expert 1
    model.fit(x, x, batch_size=8, shuffle=False, verbose=0)
    means = [np.array(e.moving_mean) for e in layer.experts.experts]
    # With a capacity of 1.0 * 1 * 8 / 4 = 2 slots, expert 0 drops two.
    first = x[:4] if capacity_factor is None else x[:2]
    for mean, rows in zip(
        means, (first, np.zeros((1, D)), x[4:6], x[6:]), strict=True
    ):
        np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-4, atol=1e-6)
    assert np.isfinite(model.predict(x, verbose=0)).all()


def test_statistics_on_two_replicas_are_finite(two_replicas):
    with two_replicas.scope():
        layer = SparseMoE(4, gate=FixedGate(4), expert=batchnorm)
        model = keras.Sequential([keras.Input((D,)), layer])
        model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, D)).astype("float32")
    x[:, 0] = [0, 0, 0, 2, 2, 2, 3, 3]
    model.fit(x, x, batch_size=8, verbose=0)
    for expert in layer.experts.experts:
        assert np.isfinite(expert.moving_mean).all()
    np.testing.assert_array_equal(layer.experts.experts[1].moving_mean, D * [0])


def test_segments_equal_batches_equal_each_expert():
    experts = ExpertList([keras.layers.Dense(OUT) for _ in range(E)])
    x_ECD = np.random.default_rng(1).normal(size=(E, C, D))
    one_by_one = [layer(x_ECD[e]) for e, layer in enumerate(experts.experts)]
    np.testing.assert_allclose(experts(x_ECD), one_by_one, rtol=1e-5)
    rows = np.concatenate([x_ECD[e, :n] for e, n in enumerate(COUNTS)])
    rows = np.concatenate([rows, np.ones((ROWS - len(rows), D))])
    y_SD = experts(tf.constant(rows), counts=COUNTS)
    expected = [one_by_one[e][:n] for e, n in enumerate(COUNTS)]
    np.testing.assert_allclose(y_SD[:6], np.concatenate(expected), rtol=1e-5)
    np.testing.assert_array_equal(y_SD[6:], np.zeros((2, OUT)))


def test_experts_hear_that_they_train():
    experts = ExpertList([keras.layers.Dropout(0.5) for _ in range(2)])
    x = tf.ones((2, 50, 1))
    np.testing.assert_array_equal(experts(x), x)
    assert np.abs(experts(x, training=True) - x).max() > 0


class TestWithinXla:
    def model(self, expert):
        layer = SparseMoE(
            3, gate=FixedGate(3), expert=expert, capacity_factor=3
        )
        model = keras.Sequential([keras.Input((D,)), layer])
        model.compile("sgd", "mse", jit_compile=True)
        return model

    x = np.abs(np.random.default_rng(0).normal(size=(4, D))).astype("float32")

    def test_plain_experts_compile_and_agree(self):
        model = self.model(lambda: keras.layers.Dense(D))
        x = self.x * 0.9
        np.testing.assert_allclose(
            model.predict(x, batch_size=4, verbose=0), model(x), rtol=1e-5
        )
        model.fit(x, x, batch_size=4, verbose=0)

    def test_statistics_are_refused_in_training(self):
        model = self.model(batchnorm)
        model.fit(self.x, self.x, batch_size=4, verbose=0)  # Keras sees to it
        compiled = tf.function(model, jit_compile=True, autograph=False)
        np.testing.assert_allclose(compiled(self.x), model(self.x), rtol=1e-4)
        with pytest.raises(ValueError, match="`jit_compile=False`.*batch_norm"):
            compiled(self.x, training=True)


class TestDtypes:
    def test_experts_take_the_layers_and_not_the_global_one(self, bfloat16):
        layer = SparseMoE(
            3, k=3, dtype="float32", expert=lambda: keras.layers.Dense(D)
        )
        x = random_rows().astype("float32")
        y = layer(x)
        assert y.dtype == "float32"
        gates = layer.gate(tf.constant(x)).gate.numpy()
        assert np.ptp(gates) < 1e-6  # the same for all three, a third
        each = [
            x @ expert.kernel.numpy() + expert.bias.numpy()
            for expert in layer.experts.experts
        ]
        expected = np.mean(each, axis=0)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"

    @pytest.mark.parametrize("theirs", ["float32", "mixed_float16", "float64"])
    @pytest.mark.parametrize("ours", ["float32", "mixed_bfloat16"])
    def test_the_layer_answers_in_its_own_as_announced(self, ours, theirs):
        layer = SparseMoE(
            3,
            k=2,
            dtype=ours,
            expert=lambda: keras.layers.Dense(D, dtype=theirs),
        )
        symbolic = layer(keras.Input((D,)))
        y = layer(random_rows().astype("float32"))
        assert symbolic.dtype == y.dtype.name == layer.compute_dtype
        assert layer.experts.experts[0].dtype_policy.name == theirs

    def test_the_policy_is_restored_when_an_expert_cannot_be_made(self):
        def fail():
            raise RuntimeError

        with pytest.raises(RuntimeError):
            SparseMoE(3, dtype="float16", expert=fail)
        assert keras.config.dtype_policy().name == "float32"


class TestUnlikeExperts:
    @pytest.mark.parametrize(
        "make, message",
        [
            (lambda: iter((4, 5)), "same depth.*one returns 4, two returns 5"),
            (lambda: iter((4, (4, 2))), r"\(n, D'\).*two.*\(None, 4, 2\)"),
        ],
    )
    def test_unlike_outputs_are_refused_when_built(self, make, message):
        def expert(name, size):
            if isinstance(size, int):
                return keras.layers.Dense(size, name=name)
            return keras.layers.EinsumDense("nd,dab->nab", size, name=name)

        names = ("one", "two")
        experts = [expert(*pair) for pair in zip(names, make(), strict=True)]
        with pytest.raises(ValueError, match=message):
            ExpertList(experts).build((2, None, D))

    def test_unlike_experts_of_one_depth_are_fine(self):
        experts = ExpertList(
            [
                keras.layers.Dense(OUT),
                keras.Sequential(
                    [
                        keras.layers.Dense(9),
                        batchnorm(),
                        keras.layers.Dense(OUT),
                    ]
                ),
            ]
        )
        assert experts(tf.ones((2, 3, D)), training=True).shape == (2, 3, OUT)


class Nested(keras.layers.Layer):
    """An expert without `build` and `compute_output_shape`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.out = keras.layers.Dense(9), keras.layers.Dense(OUT)

    def call(self, inputs):
        return self.out(self.hidden(inputs))


def test_layers_within_experts_are_built_with_them():
    layer = SparseMoE(3, k=1, expert=Nested)
    inputs = keras.Input((D,))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, OUT)
    assert len(layer.experts.trainable_variables) == 3 * 4
    model.compile("sgd", "mse")
    model.fit(random_rows(), np.ones((ROWS, OUT)), verbose=0)


def test_checkpoints_of_tensorflow_hold_the_experts(tmp_path):
    def make():
        inputs = keras.Input((D,))
        layer = SparseMoE(3, k=2, expert=lambda: keras.layers.Dense(OUT))
        return keras.Model(inputs, layer(inputs))

    saved, restored = make(), make()
    path = tf.train.Checkpoint(model=saved).save(str(tmp_path / "checkpoint"))
    status = tf.train.Checkpoint(model=restored).restore(path)
    status.assert_consumed()
    for ours, theirs in zip(saved.weights, restored.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_quantized_experts_may_idle():
    inputs = keras.Input((D,))
    layer = SparseMoE(
        4, gate=FixedGate(4), expert=lambda: keras.layers.Dense(OUT)
    )
    model = keras.Model(inputs, layer(inputs))
    x = np.abs(random_rows().astype("float32"))
    x[:, 0] = 2  # three experts idle
    before = model(x)
    model.quantize("int8")
    for y in (model(x), model.predict(x, verbose=0)):
        np.testing.assert_allclose(y, before, atol=0.1)
