"""Parameters and multiply-adds of a language model, counted from its config.

The convention is that of the paper's tables 7 and 8: *ops per timestep* are
the multiply-adds of one forward step without embedding and softmax; the
products of the gates count, and biases count nowhere. Of a hierarchical gate
a token meets the kernels of the groups and of the groups it chose.
"""

import dataclasses

from moe_keras.gating import GATES
from moe_keras.gating.configured import gate_sizes


@dataclasses.dataclass(frozen=True)
class Sizes:
    """A language model in numbers, without biases.

    Attributes:
        ops: int. Multiply-adds per timestep, without embedding and softmax.
        parameters: int. Numbers in the kernels of LSTMs, experts and gates.
        tables: int. Numbers in embedding and softmax.
        softmax_ops: int. Multiply-adds of the full softmax.
        active: int. Of `parameters` those that one token uses.
    """

    ops: int
    parameters: int
    tables: int
    softmax_ops: int
    active: int

    @property
    def total(self):
        """All numbers in kernels and tables."""
        return self.parameters + self.tables


def count_sizes(config):
    """Counts parameters and ops.

    Args:
        config: `LanguageModelConfig`.

    Returns:
        `Sizes`.

    Example:

    >>> from language_model.config import LanguageModelConfig
    >>> sizes = count_sizes(
    ...     LanguageModelConfig(
    ...         depth=512, lstm_units=512, num_experts=4, expert_hidden_dim=1024
    ...     )
    ... )
    >>> f"{sizes.ops / 1e6:.1f} {sizes.parameters / 1e6:.1f}"  # MoE-4, table 7
    '8.4 8.4'
    """
    lstms = config.layers.count("lstm") * _lstm(config)
    mixtures = config.layers.count("moe")
    expert = _expert(config)
    # A single expert needs no choice: the baselines count no gate.
    gate_ops = gate_parameters = 0
    if config.num_experts > 1:
        gate = GATES[config.gate].cost(gate_sizes(config))
        gate_ops, gate_parameters = gate.ops, gate.parameters
    shared = 2 * config.depth * (config.shared_hidden_dim or 0)
    chosen = config.experts_per_token * expert + shared
    table = config.vocab_size * config.depth
    dense = lstms + mixtures * (gate_parameters + shared)
    return Sizes(
        ops=lstms + mixtures * (chosen + gate_ops),
        parameters=dense + mixtures * config.num_experts * expert,
        tables=table if config.share_softmax else 2 * table,
        softmax_ops=table,
        active=lstms + mixtures * (gate_parameters + chosen),
    )


def _lstm(config):
    depth, units = config.depth, config.lstm_units
    projection = 0 if config.projection_dim is None else units * depth
    return 2 * depth * 4 * units + projection


def _expert(config):
    between = (config.expert_hidden_layers - 1) * config.expert_hidden_dim**2
    return 2 * config.depth * config.expert_hidden_dim + between
