"""A gate that is not trainable keeps all of its weights."""

import keras
import numpy as np
import pytest
from every_gate import GATES

from moe_keras import BiasBalancedGate, SparseMoE

D, E = 5, 4


def frozen_model(gate):
    inputs = keras.Input((D,))
    layer = SparseMoE(E, gate=gate, hidden_dim=8)
    base = keras.Model(inputs, layer(inputs))
    for weight in gate.trainable_variables:
        if weight.name == "gate_kernel":
            rng = np.random.default_rng(0)
            weight.assign(rng.normal(size=weight.shape))
    base.trainable = False
    model = keras.Model(inputs, keras.layers.Dense(2)(base.output))
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1), "mse")
    return base, model


@pytest.mark.parametrize("name", GATES)
def test_frozen_gate_keeps_its_weights(name):
    gate = GATES[name]()
    base, model = frozen_model(gate)
    x = np.random.default_rng(1).normal(size=(64, D)).astype("float32")
    outputs = base.predict(x, verbose=0)
    before = [weight.numpy() for weight in base.weights]
    model.fit(x, x[:, :2], batch_size=16, epochs=2, verbose=0)
    for weight, value in zip(base.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value, weight.path)
    np.testing.assert_array_equal(base.predict(x, verbose=0), outputs)


def test_bias_that_is_moved_by_hand_stays_too():
    gate = BiasBalancedGate(E, k=1, update_every=None, update_rate=0.5)
    x = np.ones((6, D), "float32")
    gate(x, training=True)
    gate.trainable = False
    gate.update_bias()
    np.testing.assert_array_equal(gate.bias, np.zeros(E))
    gate.trainable = True
    gate.update_bias()  # by the load from before
    assert np.abs(gate.bias).max() > 0
