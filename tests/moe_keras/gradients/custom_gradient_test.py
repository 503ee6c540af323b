"""Gradients written by hand: what they remember, and of which order."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import moe_keras
from moe_keras.gradients.custom_gradient import custom_gradient, recomputed


@custom_gradient
def cube(x):
    return x**3, lambda d_y: 3 * x**2 * d_y


def _derivatives(function, x, order, as_graph):
    """The first derivatives of a function of one number, by nested tapes."""

    def derive(x, order):
        if not order:
            return [function(x)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = derive(x, order - 1)
        return [*values, tape.gradient(values[-1], x)]

    run = lambda x: derive(x, order)  # noqa: E731
    return tf.function(run, autograph=False)(x) if as_graph else run(x)


@pytest.mark.parametrize("as_graph", [False, True])
@pytest.mark.parametrize("function", [cube, recomputed(lambda x: x**3)])
def test_derivatives_of_a_cube(function, as_graph):
    # x^3, 3 x^2, 6 x, 6 at x = 2.
    values = _derivatives(function, tf.constant(2.0), 3, as_graph)
    np.testing.assert_allclose(values, [8.0, 12.0, 12.0, 6.0])


def test_tf_gradients_find_the_gradient_too():
    @tf.function
    def slope(x):
        return tf.gradients(cube(x), x)

    assert slope(tf.constant(2.0))[0] == 12.0


def test_nests_of_results_and_unused_ones():
    @custom_gradient
    def two(x, y):
        return {"sum": x + y, "difference": x - y}, lambda d_d, d_s: (
            d_s + d_d,
            d_s - d_d,
        )

    x, y = tf.constant(5.0), tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        results = two(x, y)
    assert (results["sum"], results["difference"]) == (7.0, 3.0)
    # Of the difference alone: 1 and -1.
    gradients = tape.gradient(results["difference"], [x, y])
    assert [float(g) for g in gradients] == [1.0, -1.0]


@pytest.mark.parametrize("as_graph", [False, True])
def test_variables_are_refused_unless_the_gradient_takes_them(as_graph):
    weight = tf.Variable(3.0, name="slope")

    @custom_gradient
    def refused(x):
        return weight * x, lambda d_y: weight * d_y

    @custom_gradient
    def taken(x):
        def backward(d_y, variables):
            assert [v is weight for v in variables] == [True]
            return weight * d_y, [x * d_y]

        return weight * x, backward

    def slopes(function):
        x = tf.constant(2.0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, [x, weight])

    if as_graph:
        slopes = tf.function(slopes, autograph=False)
    with pytest.raises(ValueError, match="not its arguments.*slope"):
        slopes(refused)
    assert [float(slope) for slope in slopes(taken)] == [3.0, 2.0]


def test_recomputing_keeps_nothing_on_an_eager_tape():
    kept = []

    def function(x):
        hidden = tf.sin(x)
        kept.append(weakref.ref(hidden))
        return tf.reduce_sum(hidden)

    x = tf.ones(3)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = recomputed(function)(x)
    assert kept[0]() is None
    np.testing.assert_allclose(tape.gradient(y, x), np.cos(np.ones(3)), 1e-6)


LAYERS = {
    "segments": lambda: moe_keras.SparseMoE(4, k=2, hidden_dim=8),
    "batches": lambda: moe_keras.SparseMoE(
        4,
        k=2,
        capacity_factor=1.0,
        expert=moe_keras.FeedForwardExperts(4, 8, recompute=True),
    ),
    "hierarchical": lambda: moe_keras.SparseMoE(
        4, hidden_dim=8, gate=moe_keras.HierarchicalGate(2, 2, k=(1, 1))
    ),
    "lstm": lambda: moe_keras.ProjectedLSTM(8, projection_dim=4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_weights_of_a_graph_that_is_gone_leave_memory(name):
    def weights_of_a_trained_layer():
        layer = LAYERS[name]()
        layer(tf.ones((3, 2, 5)))
        variables = [weight.value for weight in layer.trainable_variables]

        @tf.function(autograph=False)
        def gradients(x):
            with tf.GradientTape() as tape:
                y = layer(x, training=True)
            return tape.gradient(y, variables)

        gradients(tf.ones((3, 2, 5)))
        return [weakref.ref(variable) for variable in variables]

    weights = weights_of_a_trained_layer()
    keras.backend.clear_session()
    gc.collect()
    assert [weight() for weight in weights] == [None] * len(weights)
