"""Blocks give what segments give, in shapes that XLA compiles."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from finite_differences import check_gradients

from moe_keras.experts.activation import Activation
from moe_keras.experts.blocks import _rows_of_a_block, feed_forward_blocks
from moe_keras.experts.segments import feed_forward_segments

E, D, H, OUT = 4, 3, 5, 2


def gated(hidden, expert):
    gate, linear = tf.split(hidden, 2, axis=-1)
    return tf.nn.silu(gate) * linear


GATED = Activation(gated)
RELU = Activation(
    lambda hidden, expert: tf.nn.relu(hidden),
    lambda output, d: tf.where(output > 0, d, 0),
)


def random(seed, *shape, dtype="float32"):
    values = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    return tf.constant(values)


def random_weights(activation=GATED, bias=True, **kwargs):
    width = 2 * H if activation is GATED else H
    shapes = [(E, D, width), (E, H, OUT), (E, width), (E, OUT)]
    shapes = shapes if bias else shapes[:2]
    return [random(1 + i, *s, **kwargs) for i, s in enumerate(shapes)]


def outputs_and_gradients(run, rows, counts, weights, activation, recompute):
    with tf.GradientTape() as tape:
        tape.watch([rows, *weights])
        outputs = run(rows, counts, weights, activation, recompute)
    d_outputs = random(7, *outputs.shape, dtype=rows.dtype.as_numpy_dtype)
    return outputs, tape.gradient(outputs, [rows, *weights], d_outputs)


def assert_as_segments(
    counts, num_rows, activation=GATED, bias=True, recompute=False, jit=False
):
    rows = random(0, num_rows, D)
    weights = random_weights(activation, bias)
    arguments = [rows, tf.constant(counts), weights]
    options = {"activation": activation, "recompute": recompute}
    expected = outputs_and_gradients(
        feed_forward_segments, *arguments, **options
    )

    @tf.function(jit_compile=jit)
    def run(rows, counts, weights):
        return outputs_and_gradients(
            feed_forward_blocks, rows, counts, weights, **options
        )

    # Sums of up to 20 products of numbers near 1, in another order.
    for value, reference in zip(
        tf.nest.flatten(run(*arguments)), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(value, reference, atol=3e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [GATED, RELU], ids=["gated", "relu"])
@pytest.mark.parametrize("recompute", [True, False])
def test_outputs_and_gradients_are_those_of_segments(
    activation, bias, recompute
):
    assert_as_segments([7, 0, 3, 9], 22, activation, bias, recompute)


@pytest.mark.parametrize(
    "counts, num_rows",
    [
        ([20, 0, 0, 0], 20),  # all for one
        ([0, 0, 0, 20], 20),
        ([0, 0, 0, 0], 20),  # none for anybody
        ([1, 1, 1, 1], 4),
        ([0, 1, 0, 0], 1),
        ([4, 8, 4, 4], 20),  # some end with their block
    ],
)
def test_any_routing_fits(counts, num_rows):
    assert_as_segments(counts, num_rows)


@pytest.mark.parametrize("recompute", [True, False])
def test_xla_compiles_it(recompute):
    assert_as_segments([7, 0, 3, 9], 22, recompute=recompute, jit=True)


def test_xla_compiles_one_graph_for_any_routing():
    traces = []

    @tf.function(jit_compile=True)
    def run(counts):
        traces.append(counts)
        return feed_forward_blocks(rows, counts, weights, RELU)

    rows, weights = random(0, 22, D), random_weights(RELU)
    for counts in ([7, 0, 3, 9], [0, 22, 0, 0], [1, 2, 3, 4]):
        expected = feed_forward_segments(rows, counts, weights, RELU)
        np.testing.assert_allclose(
            run(tf.constant(counts)), expected, atol=1e-5
        )
    assert len(traces) == 1


def test_an_unknown_number_of_rows():
    weights = random_weights()

    @tf.function(input_signature=[tf.TensorSpec((None, D))], jit_compile=True)
    def run(rows):
        return feed_forward_blocks(rows, [7, 0, 3, 9], weights, GATED)

    rows = random(0, 40, D)
    expected = feed_forward_segments(rows, [7, 0, 3, 9], weights, GATED)
    np.testing.assert_allclose(run(rows), expected, atol=1e-5)


def test_no_rows():
    outputs = feed_forward_blocks(
        tf.zeros((0, D)), [0, 0, 0, 0], random_weights(), GATED
    )
    assert outputs.shape == (0, OUT)


@pytest.mark.parametrize("run", [feed_forward_blocks, feed_forward_segments])
def test_kernels_side_by_side_are_as_one(run):
    rows, counts = random(0, 12, D), [2, 0, 5, 4]
    both, *others = random_weights()
    with tf.GradientTape() as tape:
        gate, linear = tf.split(both, 2, axis=-1)
        tape.watch([gate, linear])
        outputs = run(rows, counts, [(gate, linear), *others], GATED)
    gradients = tape.gradient(outputs, [gate, linear])
    with tf.GradientTape() as tape:
        tape.watch(both)
        expected = run(rows, counts, [both, *others], GATED)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(
        tf.concat(gradients, axis=-1), tape.gradient(expected, both), atol=1e-5
    )


@pytest.mark.parametrize("recompute", [True, False])
def test_gradients_are_those_of_finite_differences(recompute):
    rows = keras.Variable(random(0, 7, D, dtype="float64"), dtype="float64")
    weights = [
        keras.Variable(value, dtype="float64")
        for value in random_weights(dtype="float64")
    ]
    d_outputs = random(7, 7, OUT, dtype="float64")

    @tf.function
    def run():
        outputs = feed_forward_blocks(
            rows.value,
            [3, 1, 0, 2],
            [w.value for w in weights],
            GATED,
            recompute,
        )
        return tf.reduce_sum(outputs * d_outputs)

    check_gradients(run, [rows, *weights])


def test_a_number_that_is_none_stays_with_its_expert():
    rows = tf.tensor_scatter_nd_update(random(0, 9, D), [[4, 1]], [np.nan])
    weights = random_weights(bias=False)
    outputs, gradients = outputs_and_gradients(
        feed_forward_blocks, rows, [4, 3, 0, 2], weights, GATED, False
    )
    assert np.isnan(outputs.numpy()).any(axis=1).tolist() == [
        row == 4 for row in range(9)
    ]
    for gradient in gradients[1:]:
        spoilt = np.isnan(gradient.numpy()).any(axis=(1, 2))
        assert spoilt.tolist() == [False, True, False, False]


def test_each_block_has_a_number_of_its_own():
    def number(hidden, number):
        return tf.ones_like(hidden) * tf.cast(number, hidden.dtype)

    counts = [9, 0, 3, 4]
    outputs = feed_forward_blocks(
        tf.zeros((16, 1)),
        counts,
        [tf.zeros((E, 1, 1)), tf.ones((E, 1, 1))],
        Activation(number),
    )
    # 16 rows of 4 experts: blocks of 2. Block b of expert e has e + 4 b.
    expected = [0, 0, 4, 4, 8, 8, 12, 12, 16, 2, 2, 6, 3, 3, 7, 7]
    assert outputs.numpy().ravel().tolist() == expected


@pytest.mark.parametrize(
    "num_rows, num_experts, size",
    [
        (1, 8, 1),  # a step of generate
        (16, 8, 1),  # a share of 2: half of it
        (1024, 64, 8),
        (1000, 64, 8),
        (16384, 8, 256),  # no more than that
        (None, 8, 16),
    ],
)
def test_a_block_has_about_half_an_even_share(num_rows, num_experts, size):
    assert _rows_of_a_block(num_rows, num_experts) == size
