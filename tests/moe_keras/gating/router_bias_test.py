"""A bias in the router: logits are `x W + b` in every gate."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from every_gate import GATES

from moe_keras import TopKGate

D = 3


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", GATES)
def test_a_bias_is_one_more_row_of_the_kernel(name, training):
    """A gate with a bias routes x as one without it routes `[x, 1]`."""
    biased = GATES[name](use_bias=True, dtype="float64")
    plain = GATES[name](dtype="float64")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, D))
    with_one = np.concatenate([x, np.ones((9, 1))], axis=1)
    mask = tf.constant([True] * 7 + [False] * 2)
    biased(x)
    plain(with_one)
    values = {weight.path.split("/", 1)[1]: weight for weight in plain.weights}
    for weight in biased.weights:
        path = weight.path.split("/", 1)[1]
        if path.endswith("gate_bias"):
            weight.assign(rng.normal(size=weight.shape))
            kernel = values[path.replace("gate_bias", "gate_kernel")]
            row = np.array(weight)[..., None, :]
            kernel.assign(np.concatenate([kernel[..., :D, :], row], axis=-2))
        elif path.endswith("kernel"):
            value = rng.normal(size=weight.shape)
            weight.assign(value)
            zeros = np.zeros_like(value[..., :1, :])
            values[path].assign(np.concatenate([value, zeros], axis=-2))
    ours = biased(x, mask=mask, training=training)
    theirs = plain(with_one, mask=mask, training=training)
    np.testing.assert_array_equal(ours.expert_index, theirs.expert_index)
    for field in ("gate", "importance", "load", "loss"):
        np.testing.assert_allclose(
            getattr(ours, field), getattr(theirs, field), atol=1e-12
        )


@pytest.mark.parametrize("name", GATES)
def test_without_a_bias_there_is_no_weight_for_it(name):
    gate = GATES[name]()
    gate(np.ones((2, D), "float32"))
    assert not any("gate_bias" in weight.path for weight in gate.weights)


def test_bias_is_in_the_routers_precision():
    gate = TopKGate(4, use_bias=True, dtype="mixed_bfloat16")
    gate(np.ones((2, D), "float32"))
    assert gate.gate_bias.dtype == "float32"


def test_config_from_before_the_bias_still_loads():
    config = TopKGate(4).get_config()
    del config["use_bias"]
    assert TopKGate.from_config(config).use_bias is False


def test_bias_learns_from_the_task():
    gate = TopKGate(4, use_bias=True, kernel_initializer="zeros")
    with tf.GradientTape() as tape:
        routing = gate(keras.ops.ones((2, D)))
        task = tf.reduce_sum(routing.gate * [1.0, 0.0])
    gradient = tape.gradient(task, gate.gate_bias.value)
    assert np.abs(gradient).max() > 0
