"""What weight decay does to gates, and what one is told of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from every_gate import GATES

from moe_keras import BatchwiseGate, SparseMoE
from moe_keras.monitoring import RoutingMonitor

D, E, K = 6, 8, 2


def model_with(optimizer):
    keras.utils.set_random_seed(0)
    layer = SparseMoE(E, gate=BatchwiseGate(E, k=K), hidden_dim=8, name="moe")
    model = keras.Sequential([keras.Input((D,)), layer])
    model.compile(optimizer, "mse")
    return model, layer


def excluding(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["log_threshold"])
    return optimizer


def experts_per_token(optimizer, steps=300):
    """At inference, on fresh tokens, after training."""
    model, layer = model_with(optimizer)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128 * steps, D)).astype("float32")
    model.fit(x, x, batch_size=128, verbose=0)
    layer.reset_routing_statistics()
    model.predict(rng.normal(size=(2048, D)).astype("float32"), verbose=0)
    return layer.routing_statistics().mean_k


@pytest.mark.slow
def test_thresholds_that_are_excluded_stay_near_the_scores():
    decay = keras.optimizers.AdamW(0.01, weight_decay=10.0)
    assert experts_per_token(decay) < 0.1  # no token passes any more
    decay = excluding(keras.optimizers.AdamW(0.01, weight_decay=10.0))
    assert 0.8 * K < experts_per_token(decay) < 1.2 * K


@pytest.mark.parametrize("is_excluded", (False, True))
def test_monitor_says_what_was_forgotten(is_excluded):
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    if is_excluded:
        excluding(optimizer)
    model, _ = model_with(optimizer)
    lines, x = [], np.ones((8, D), "float32")
    model.fit(x, x, verbose=0, callbacks=[RoutingMonitor(log=lines.append)])
    told = [line for line in lines if "weight decay" in line]
    if is_excluded:
        assert not told
    else:
        (line,) = told
        assert "log_threshold of moe" in line
        assert 'exclude_from_weight_decay(var_names=["log_threshold"])' in line


@pytest.mark.parametrize("name", GATES)
def test_decay_meets_kernels_and_nothing_that_moves_by_itself(name):
    """States of gates are no trainable weights, which alone decay."""
    gate = GATES[name]()
    gate(tf.ones((3, D)), training=True)
    decaying = {weight.name for weight in gate.trainable_variables}
    assert decaying - set(gate.no_decay) <= {"gate_kernel", "noise_kernel"}
