"""How a `TranslatorConfig` becomes the layers of encoder and decoder."""

import keras

from moe_keras import FeedForwardExperts, ProjectedLSTM, SparseMoE
from moe_keras.gating.configured import make_gate
from translation.model.attention import (
    AdditiveAttention,
    DotAttention,
    ProductAttention,
)
from translation.model.residual import Residual


def lstm_block(config, name):
    """An LSTM in its residual block."""
    layer = ProjectedLSTM(
        config.lstm_units,
        config.projection_dim,
        return_sequences=True,
        name="lstm",
    )
    return Residual(layer, config.dropout, name=name)


def bidirectional_block(config, name):
    """The first encoder layer: half of the width reads in each direction."""
    units, width = config.lstm_units // 2, config.depth // 2
    half = ProjectedLSTM(
        units,
        None if units == width else width,
        return_sequences=True,
        name="lstm",
    )
    return Residual(
        keras.layers.Bidirectional(half, name="both"), config.dropout, name=name
    )


def moe_block(config, name, expert=None):
    """A mixture of experts, `moe_activation` after it, in its block.

    Args:
        config: `TranslatorConfig`, or another with the same fields of experts.
        name: str.
        expert: As of `SparseMoE`; by default feed-forward experts with one
            hidden layer.
    """
    gate = make_gate(config)
    weights = {}
    if not getattr(gate, "balances_itself", False):
        weights = {
            "importance_loss_weight": config.importance_loss_weight,
            "load_loss_weight": config.load_loss_weight,
        }
    if expert is None:
        expert = FeedForwardExperts(
            config.num_experts,
            config.expert_hidden_dim,
            use_bias=config.expert_bias,
            name="experts",
        )
    layer = SparseMoE(
        config.num_experts,
        gate=gate,
        expert=expert,
        **weights,
        capacity_factor=config.capacity_factor,
        name=f"{name}_layer",
    )
    return Residual(layer, config.dropout, config.moe_activation, name=name)


def attention_layer(config):
    """The attention that `config.attention` names."""
    units = config.attention_units
    return {
        "product": lambda name: ProductAttention(units, name=name),
        "additive": lambda name: AdditiveAttention(units, name=name),
        "dot": lambda name: DotAttention(name=name),
    }[config.attention]("attention")
