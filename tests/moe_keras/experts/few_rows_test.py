"""Small experts that run together against the loop over experts."""

import numpy as np
import pytest
import tensorflow as tf

from moe_keras import FeedForwardExperts
from moe_keras.experts.activation import plain_activation
from moe_keras.experts.few_rows import are_small, feed_forward_small
from moe_keras.experts.segments import feed_forward_segments

E, D, H = 9, 4, 6
COUNTS = {
    "few and many": [2, 0, 30, 0, 0, 1, 17, 16, 0],
    "none": 9 * [0],
    "many alone": [30, *8 * [0]],
    "few alone": 9 * [1],
}


def _run(function, rows, counts, weights):
    with tf.GradientTape() as tape:
        tape.watch(rows)
        outputs = function(
            rows,
            counts,
            [tf.convert_to_tensor(weight) for weight in weights],
            plain_activation(tf.nn.relu),
        )
        loss = tf.reduce_sum(outputs**2)
    return [outputs, *tape.gradient(loss, [rows, *weights])]


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS)
def test_outputs_and_gradients_are_those_of_the_loop(counts, in_graph):
    random = np.random.default_rng(0)
    shapes = ((E, D, H), (E, H, D), (E, H), (E, D))
    weights = [
        tf.Variable(random.normal(size=s), dtype=tf.float32) for s in shapes
    ]
    # Three rows more, of nobody.
    rows = tf.constant(random.normal(size=(sum(counts) + 3, D)), tf.float32)
    run = tf.function(_run, autograph=False) if in_graph else _run
    ours, loop = (
        run(function, rows, counts, weights)
        for function in (feed_forward_small, feed_forward_segments)
    )
    for mine, theirs in zip(ours, loop, strict=True):
        np.testing.assert_allclose(
            tf.convert_to_tensor(mine), theirs, rtol=1e-4, atol=1e-5
        )
    (busy,) = np.nonzero(counts)
    for gradient in ours[2:]:
        assert sorted(gradient.indices.numpy()) == busy.tolist()
    np.testing.assert_array_equal(ours[0][-3:], 0 * ours[0][-3:])


def test_experts_take_this_way_if_they_are_small(monkeypatch):
    called = []

    def small(*arguments):
        called.append(len(arguments))
        return feed_forward_small(*arguments)

    monkeypatch.setattr(
        "moe_keras.experts.feed_forward.feed_forward_small", small
    )
    for hidden in (8, 1200):  # 2 x 8 x 1200 is above 2^14
        experts = FeedForwardExperts(3, hidden, sparse_gradients=True)
        experts(tf.ones((4, 8)), counts=[1, 0, 3], training=True)
    assert len(called) == 1


def test_size_counts_all_numbers_of_an_expert():
    weights = [tf.zeros((5, 64, 128)), tf.zeros((5, 128, 64))]
    assert are_small(weights)  # 2 x 64 x 128 = 2^14
    assert not are_small([*weights, tf.zeros((5, 1))])
