"""Parameters and multiply-adds of a translator, counted from its config.

The convention is the paper's (section 5.1 and appendix E): *ops per timestep*
are the multiply-adds of one forward step, one source and one target token,
with the softmax, without biases, embeddings (look-ups), gating and the
products of attention whose size depends on the sentence. The gating is shown
apart. With it the paper's model comes to its 85 M ops and 8.7 B parameters.
"""

import dataclasses

from translation.model.gates import GATES


@dataclasses.dataclass(frozen=True)
class Ops:
    """Multiply-adds of one timestep (one source and one target token)."""

    lstm: int  # gates and projections of all LSTM layers
    experts: int  # the K experts that a token visits, in all MoE layers
    attention: int  # key and query products
    context: int  # the attended context, where LSTMs and softmax take it in
    softmax: int
    gates: int  # products with the gates' kernels; not in `total`

    @property
    def total(self):
        """Ops per timestep by the paper's convention."""
        return (
            self.lstm
            + self.experts
            + self.attention
            + self.context
            + self.softmax
        )


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Trainable numbers of a translator."""

    total: int
    active: int  # what one token uses: all but the experts not chosen


def _lstm_kernels(inputs, units, outputs):
    """Numbers in the kernels of one LSTM from `inputs` to `outputs` wide."""
    projection = 0 if units == outputs else units * outputs
    return (inputs + outputs) * 4 * units + projection


def _encoder_first(config):
    """Kernels and biases of the first encoder layer."""
    depth, units = config.depth, config.lstm_units
    if not config.bidirectional:
        return _lstm_kernels(depth, units, depth), 4 * units
    direction = _lstm_kernels(depth, units // 2, depth // 2)
    return 2 * direction, 2 * 4 * (units // 2)


def _num_moe(config):
    return len(config.encoder_moe_after) + len(config.decoder_moe_after)


def _context_kernels(config):
    """Numbers in the kernels that take in the context."""
    lstms = 1 if config.context_to == "first" else config.decoder_layers
    readout = config.depth**2 if config.readout else 0
    return lstms * config.depth * 4 * config.lstm_units + readout


def _attention_kernels(config):
    """Numbers in the key and query products of the attention."""
    if config.attention == "dot":
        return 0
    return 2 * config.depth * config.attention_units


def count_ops(config):
    """Multiply-adds of one timestep.

    Args:
        config: `TranslatorConfig`.

    Returns:
        `Ops`.

    Example:

    >>> from translation.model.config import TranslatorConfig
    >>> count_ops(TranslatorConfig(depth=512, vocab_size=32000)).softmax
    16384000
    """
    depth, units = config.depth, config.lstm_units
    plain_layers = config.encoder_layers - 1 + config.decoder_layers
    lstm = _encoder_first(config)[0]
    lstm += plain_layers * _lstm_kernels(depth, units, depth)
    expert = 2 * depth * config.expert_hidden_dim
    return Ops(
        lstm=lstm,
        experts=_num_moe(config) * config.experts_per_token * expert,
        attention=_attention_kernels(config),
        context=_context_kernels(config),
        softmax=depth * config.vocab_size,
        gates=_num_moe(config) * GATES[config.gate].ops(config),
    )


def count_parameters(config):
    """Trainable numbers of the translator that `config` describes.

    Returns:
        `Parameters`; `total` is what `Translator(config).count_params()`
        finds after building, apart from routing statistics and seeds.
    """
    ops = count_ops(config)
    depth, units = config.depth, config.lstm_units
    plain_layers = config.encoder_layers - 1 + config.decoder_layers
    biases = _encoder_first(config)[1] + plain_layers * 4 * units
    tables = (1 if config.share_embeddings else 2) + (
        0 if config.share_softmax else 1
    )
    embeddings = tables * config.vocab_size * depth + config.vocab_size
    attention_scale = 0 if config.attention == "dot" else config.attention_units
    expert = 2 * depth * config.expert_hidden_dim
    if config.expert_bias:
        expert += config.expert_hidden_dim + depth
    dense = (
        ops.lstm
        + biases
        + ops.context
        + ops.attention
        + attention_scale
        + embeddings
        + _num_moe(config) * GATES[config.gate].parameters(config)
    )
    experts = _num_moe(config) * expert
    return Parameters(
        total=dense + experts * config.num_experts,
        active=dense + experts * config.experts_per_token,
    )
