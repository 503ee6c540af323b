"""`kernel_regularizer` of gates, as of a Dense layer."""

import keras
import numpy as np
import pytest
from every_gate import GATES

D = 5


@pytest.mark.parametrize("name", GATES)
def test_regularizer_adds_the_loss_of_the_gates_kernels(name):
    gate = GATES[name](kernel_regularizer=keras.regularizers.L2(0.5))
    gate.build((None, D))
    rng = np.random.default_rng(0)
    expected = 0.0
    for weight in gate.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
        if weight.name == "gate_kernel":  # of both levels of a hierarchy
            expected += 0.5 * np.sum(np.square(weight.numpy()))
    assert expected > 0
    np.testing.assert_allclose(sum(gate.losses), expected, rtol=1e-5)


@pytest.mark.parametrize("name", GATES)
def test_config_from_before_regularizers_still_loads(name):
    gate = GATES[name]()
    config = gate.get_config()
    del config["kernel_regularizer"]
    if name == "noisy_top_k":
        del config["kernel_initializer"]
    again = type(gate).from_config(config)
    assert again.get_config() == gate.get_config()
