"""Advice names what the gate at hand has, and what keeps a load even."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from moe_keras import (
    BatchwiseGate,
    BiasBalancedGate,
    ExpertChoiceGate,
    HierarchicalGate,
    NoisyTopKGate,
    SparseMoE,
    SwitchGate,
    ThresholdGate,
    TopKGate,
)
from moe_keras.monitoring import Verdict, make_window
from moe_keras.monitoring.advice import advise, is_balanced

DRIFTING = Verdict("drifting", "spread of load", 0.6, 0.75)


def window_of(**figures):
    window = make_window("moe", 10, 10, tokens=10_000, load=[1250.0] * 16)
    return dataclasses.replace(window, **{"gate_gradient": 0.1, **figures})


def advice_for(gate, **figures):
    return advise(DRIFTING, window_of(**figures), gate)


def layer_with(gate, **weights):
    return SparseMoE(16, hidden_dim=2, gate=gate, **weights)


def test_advice_follows_from_what_is_seen_of_the_gate():
    noisy = advice_for(None, noise_over_gap=1.0)
    assert "importance_loss_weight" in noisy and "noise" not in noisy
    assert "noise" in advice_for(None, noise_over_gap=0.01)
    assert "no gradient" in advice_for(None, gate_gradient=0.0)
    healthy = dataclasses.replace(DRIFTING, level="healthy")
    assert advise(healthy, window_of()) == ""
    collapsed = dataclasses.replace(DRIFTING, level="collapsed")
    assert "checkpoint" in advise(collapsed, window_of())


@pytest.mark.parametrize(
    "gate, knobs",
    [
        (NoisyTopKGate(16), "importance_loss_weight and load_loss_weight"),
        (
            HierarchicalGate(4, 4),
            "importance_loss_weight and load_loss_weight",
        ),
        (TopKGate(16), "balance_loss_weight"),
        (SwitchGate(16), "balance_loss_weight"),
        (ThresholdGate(16), "balance_loss_weight"),
        (BiasBalancedGate(16), "update_rate"),
        (BatchwiseGate(16), "threshold_loss_weight"),
    ],
)
def test_advice_names_what_the_gate_has(gate, knobs):
    advice = f"raise {knobs}, or lower the learning rate"
    assert advice_for(gate) == advice
    layer = layer_with(gate).get_config()
    for knob in knobs.split(" and "):
        assert knob in layer or knob in gate.get_config()


@pytest.mark.parametrize("gate", [NoisyTopKGate(16), HierarchicalGate(4, 4)])
def test_advice_on_noise_is_for_gates_that_have_it(gate):
    assert "noise" not in advice_for(gate, noise_over_gap=0.1)
    advice = advice_for(gate, noise_over_gap=0.09)
    assert advice.endswith("; give the gate more noise: raise noise_epsilon")
    assert "noise_epsilon" in gate.get_config()


def test_advice_for_gates_without_a_knob():
    even = ExpertChoiceGate(16, causal=False)
    assert advice_for(even) == "lower the learning rate"
    own = types.SimpleNamespace()  # says nothing of itself
    assert "importance_loss_weight" in advice_for(own, noise_over_gap=0.0)
    assert advice_for(own, noise_over_gap=0.0).endswith("more noise")
    own.balances_itself = True
    assert advice_for(own) == "lower the learning rate"


def test_names_that_a_program_has_for_its_arguments_are_taken():
    gate = NoisyTopKGate(16)
    gate.knob_names = {
        "load_loss_weight": "--load",
        "noise_epsilon": "--noise",
    }
    advice = advice_for(gate, noise_over_gap=0.0)
    assert advice.startswith("raise importance_loss_weight and --load, or ")
    assert advice.endswith(": raise --noise")


BOTH_0 = {"importance_loss_weight": 0.0, "load_loss_weight": 0.0}


@pytest.mark.parametrize(
    "gate, weights, expected",
    [
        (NoisyTopKGate(16), {}, True),
        (NoisyTopKGate(16), {"load_loss_weight": 0.0}, True),
        (NoisyTopKGate(16), BOTH_0, False),
        (HierarchicalGate(4, 4), BOTH_0, False),
        (TopKGate(16), BOTH_0, True),
        (TopKGate(16, balance_loss_weight=0.0), {}, False),
        (TopKGate(16, balance_loss_weight=0.0), {"load_loss_weight": 1}, False),
        (
            TopKGate(16, balance_loss_weight=0.0),
            {"importance_loss_weight": 1},
            True,
        ),
        (SwitchGate(16, balance_loss_weight=0.0), {}, False),
        (ThresholdGate(16, balance_loss_weight=0.0), {}, False),
        (BiasBalancedGate(16), {}, True),
        (BiasBalancedGate(16, update_rate=0.0), {}, False),
        (ExpertChoiceGate(16, causal=False), {}, True),
    ],
)
def test_balance_is_kept_by_any_loss_or_knob_above_0(gate, weights, expected):
    assert is_balanced(layer_with(gate, **weights)) is expected


@pytest.mark.parametrize("importance", [0.0, 1.0])
@pytest.mark.parametrize("load", [0.0, 1.0])
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("gate", [TopKGate, SwitchGate, ThresholdGate, None])
def test_losses_that_keep_a_load_even_are_those_with_a_gradient(
    gate, weight, importance, load
):
    made = gate and gate(4, balance_loss_weight=weight, z_loss_weight=0.0)
    layer = SparseMoE(
        4,
        k=None if gate else 2,
        gate=made,
        hidden_dim=2,
        importance_loss_weight=importance,
        load_loss_weight=load,
    )
    layer.build((None, 3))
    kernel = layer.gate.gate_kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    with tf.GradientTape() as tape:
        layer(tf.random.normal((32, 3), seed=1), training=True)
        loss = tf.add_n([tf.zeros(()), *layer.losses])
    gradient = tape.gradient(loss, kernel.value)
    is_moved = gradient is not None and float(tf.norm(gradient)) > 1e-6
    assert is_balanced(layer) == is_moved


def test_knob_that_is_no_attribute_says_nothing():
    own = types.SimpleNamespace(balance_knobs=("weight",))
    layer = types.SimpleNamespace(gate=own, **BOTH_0)
    assert is_balanced(layer)
    own.weight = 0.0
    assert not is_balanced(layer)
    own.weight = 0.1
    assert is_balanced(layer)


def test_gate_of_ones_own_is_taken_at_its_word():
    own = types.SimpleNamespace(balances_itself=True)
    layer = types.SimpleNamespace(gate=own, **BOTH_0)
    assert is_balanced(layer)
    own.balances_itself = False
    assert not is_balanced(layer)
