"""Makes the layers of encoder and decoder from a `TranslatorConfig`."""

import keras

from moe_keras import ProjectedLSTM
from moe_keras.moe_config import make_moe
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
        config: `MoEConfig` with a field `dropout`, such as `TranslatorConfig`.
        name: str.
        expert: As of `make_moe`.
    """
    layer = make_moe(config, f"{name}_layer", expert)
    return Residual(layer, config.dropout, config.moe_activation, name=name)


def attention_layer(config):
    """The attention that `config.attention` names."""
    units = config.attention_units
    return {
        "product": lambda name: ProductAttention(units, name=name),
        "additive": lambda name: AdditiveAttention(units, name=name),
        "dot": lambda name: DotAttention(name=name),
    }[config.attention]("attention")
