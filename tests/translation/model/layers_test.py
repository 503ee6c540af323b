"""From a configuration to layers."""

import dataclasses

import numpy as np
import pytest

from translation.model.attention import (
    AdditiveAttention,
    DotAttention,
    ProductAttention,
)
from translation.model.config import TranslatorConfig
from translation.model.layers import (
    attention_layer,
    bidirectional_block,
    lstm_block,
    moe_block,
)

CONFIG = TranslatorConfig(
    depth=6,
    lstm_units=8,
    num_experts=5,
    experts_per_token=3,
    expert_hidden_dim=7,
    importance_loss_weight=0.2,
    load_loss_weight=0.3,
    attention_units=4,
    dropout=0.25,
)


def _weights(block, config=CONFIG):
    block.build((None, None, config.depth))
    return {weight.name: tuple(weight.shape) for weight in block.weights}


def test_lstm_is_projected_to_the_depth():
    # D = 6, H = 8: kernels are 4 H = 32 wide, the output is 6.
    block = lstm_block(CONFIG, "layer")
    assert block.name == "layer" and block.dropout.rate == 0.25
    assert _weights(block) == {
        "kernel": (6, 32),
        "recurrent_kernel": (6, 32),
        "bias": (32,),
        "projection_kernel": (8, 6),
    }


def test_lstm_as_wide_as_the_depth_is_not_projected():
    config = dataclasses.replace(CONFIG, lstm_units=6)
    assert "projection_kernel" not in _weights(lstm_block(config, "layer"))


@pytest.mark.parametrize("lstm_units", [6, 8])
def test_each_direction_has_half_of_the_width(lstm_units):
    # D / 2 = 3 out of each direction, H / 2 cells in it.
    config = dataclasses.replace(CONFIG, lstm_units=lstm_units)
    block = bidirectional_block(config, "layer")
    block.build((None, None, 6))
    half = lstm_units // 2
    for direction in (block.layer.forward_layer, block.layer.backward_layer):
        assert direction.kernel.shape == (6, 4 * half)
        assert direction.recurrent_kernel.shape == (3, 4 * half)
        if half == 3:
            assert direction.projection_kernel is None
        else:
            assert direction.projection_kernel.shape == (half, 3)
    assert block(np.ones((2, 4, 6), "float32")).shape == (2, 4, 6)


@pytest.mark.parametrize("expert_bias", [True, False])
def test_moe_is_what_the_configuration_says(expert_bias):
    config = dataclasses.replace(
        CONFIG, expert_bias=expert_bias, capacity_factor=1.5
    )
    block = moe_block(config, "encoder_moe_2")
    moe = block.layer
    assert (block.name, moe.name) == ("encoder_moe_2", "encoder_moe_2_layer")
    assert block.activation.__name__ == "sigmoid"
    assert (moe.num_experts, moe.gate.k) == (5, 3)
    assert (moe.importance_loss_weight, moe.load_loss_weight) == (0.2, 0.3)
    assert moe.capacity_factor == 1.5
    shapes = {"kernel_in": (5, 6, 7), "kernel_out": (5, 7, 6)}
    if expert_bias:
        shapes |= {"bias_in": (5, 7), "bias_out": (5, 6)}
    shapes |= {"gate_kernel": (6, 5), "noise_kernel": (6, 5)}
    built = _weights(block)
    assert {name: built.get(name) for name in shapes} == shapes
    assert ("bias_in" in built) == expert_bias


@pytest.mark.parametrize(
    "name, kind",
    [
        ("product", ProductAttention),
        ("additive", AdditiveAttention),
        ("dot", DotAttention),
    ],
)
def test_attention_has_the_name_of_its_class(name, kind):
    layer = attention_layer(dataclasses.replace(CONFIG, attention=name))
    assert type(layer) is kind
    assert getattr(layer, "units", 4) == 4


def test_the_gate_is_the_one_named():
    config = dataclasses.replace(
        CONFIG,
        gate="hierarchical",
        num_experts=12,
        experts_per_token=4,
        expert_groups=3,
        groups_per_token=2,
    )
    gate = moe_block(config, "layer").layer.gate
    assert type(gate).__name__ == "HierarchicalGate"
    assert (gate.num_groups, gate.experts_per_group) == (3, 4)
    assert tuple(gate.k) == (2, 2)
