"""Stacked experts on batches and on ragged segments, held to each other."""

import numpy as np
import tensorflow as tf

E, C, D, H, OUT = 4, 3, 5, 6, 2
COUNTS = [3, 0, 1, 2]  # one idle expert; 2 more rows belong to nobody
ROWS = 8


def built_experts(make, **kwargs):
    """Experts of one kind, with weights none of which is zero."""
    kwargs = {"output_dim": OUT, "dtype": "float64", **kwargs}
    experts = make(E, H, **kwargs)
    experts.build((E, None, D))
    rng = np.random.default_rng(0)
    for weight in experts.weights:
        weight.assign(rng.normal(size=weight.shape))
    return experts


def random_rows():
    return np.random.default_rng(1).normal(size=(ROWS, D))


def assert_equals_one_network_at_a_time(experts, one_expert):
    """Holds batches and segments to a plain network.

    Args:
        experts: Layer of `built_experts`.
        one_expert: Function `(experts, e, rows) -> outputs` of expert e.
    """
    x_ECD = np.random.default_rng(1).normal(size=(E, C, D))
    expected = [one_expert(experts, e, x_ECD[e]) for e in range(E)]
    np.testing.assert_allclose(experts(x_ECD), expected, 1e-6, 1e-6)
    x_SD = random_rows()
    parts = np.split(x_SD, np.cumsum(COUNTS))
    expected = [one_expert(experts, e, parts[e]) for e in range(E)]
    expected = np.concatenate([*expected, np.zeros((2, OUT))])
    y_SD = experts(x_SD, counts=COUNTS)
    np.testing.assert_allclose(y_SD, expected, 1e-6, 1e-6)


def assert_segments_have_gradients_of_batches(experts, as_function):
    x_SD = tf.constant(random_rows())
    d_SD = np.random.default_rng(2).normal(size=(ROWS, OUT))

    def as_segments(x_SD):
        return experts(x_SD, counts=COUNTS, training=True)

    def as_batches(x_SD):
        parts = tf.split(x_SD, [*COUNTS, 2])[:-1]
        batches = [
            tf.pad(part, [[0, C - count], [0, 0]])
            for part, count in zip(parts, COUNTS, strict=True)
        ]
        outputs = experts(tf.stack(batches))
        rows = [outputs[e, :count] for e, count in enumerate(COUNTS)]
        return tf.concat([*rows, np.zeros((2, OUT))], 0)

    def gradients(run):
        with tf.GradientTape() as tape:
            tape.watch(x_SD)
            loss = tf.reduce_sum(run(x_SD) * d_SD)
        return tape.gradient(loss, [x_SD, *experts.trainable_variables])

    if as_function:
        gradients = tf.function(gradients, autograph=False)
    for ours, theirs in zip(
        gradients(as_segments), gradients(as_batches), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, 1e-6, 1e-6)
        assert np.abs(ours).max() > 0
