"""The gradient that reaches a gate, against a tape of one's own."""

import keras
import numpy as np
import tensorflow as tf

from moe_keras import SparseMoE
from moe_keras.monitoring.gradients import GateGradients


def test_norms_are_those_of_each_gates_weights():
    layers = [SparseMoE(4, k=2, hidden_dim=5, seed=i) for i in range(2)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    variables = model.trainable_variables
    norms = GateGradients(layers)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    squares = np.zeros((2, 2))
    for step in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - x) ** 2)
        gradients = tape.gradient(loss, variables)
        norms.add(gradients, variables)
        for i, layer in enumerate(layers):
            mine = [
                gradient.numpy()
                for gradient, variable in zip(gradients, variables, strict=True)
                if any(variable is w for w in layer.gate.trainable_variables)
            ]
            assert len(mine) == 2  # gate kernel and noise kernel
            squares[step, i] = sum((gradient**2).sum() for gradient in mine)
    expected = np.sqrt(squares.mean(0))
    np.testing.assert_allclose(norms.close(), expected, rtol=1e-5)


def test_missing_gradients_count_as_zero_and_no_step_as_none():
    layer = SparseMoE(4, k=2, hidden_dim=5)
    layer.build((None, 3))
    norms = GateGradients([layer])
    assert norms.close() == [None]
    weights = layer.gate.trainable_variables
    norms.add([None] * len(weights), weights)
    assert norms.close() == [0.0]
