"""Parameters and multiply-adds of a translator, as the paper shows them.

The convention is the paper's (section 5.1 and appendix E): *ops per timestep*
are the multiply-adds of one forward step, one source and one target token,
with the softmax, without biases, embeddings (look-ups), gating and the
products of attention whose size depends on the sentence. The gating is shown
apart. The paper's model then has its 85 M ops and 8.7 B parameters.

`moe_keras.plan.translator` counts them.
"""

import dataclasses

from moe_keras.plan.translator import dense_costs, translator_from_config


@dataclasses.dataclass(frozen=True)
class Ops:
    """Multiply-adds of one timestep (one source and one target token)."""

    lstm: int  # gates and projections of all LSTM layers
    experts: int  # those that a token visits, shared ones too, in all MoEs
    attention: int  # key and query products
    context: int  # the products of LSTMs and softmax with the context
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
    """Trainable parameters of a translator."""

    total: int
    active: int  # those that one token uses: all but experts not chosen


def count_ops(config):
    """Counts the multiply-adds of one timestep.

    Args:
        config: `TranslatorConfig`.

    Returns:
        `Ops`.

    Example:

    >>> from translation.model.config import TranslatorConfig
    >>> count_ops(TranslatorConfig(depth=512, vocab_size=32000)).softmax
    16384000
    """
    costs, model = dense_costs(vars(config)), _model(config)
    return Ops(
        lstm=costs["lstm"].ops,
        experts=sum(x.expert_ops + x.shared_ops for x in model.moe),
        attention=costs["attention"].ops,
        context=costs["context"].ops,
        softmax=costs["vocabulary"].ops,
        gates=sum(layer.gate_ops for layer in model.moe),
    )


def count_parameters(config):
    """Counts the trainable parameters of a translator.

    Args:
        config: `TranslatorConfig`.

    Returns:
        `Parameters`; `total` is `Translator(config).count_params()` after
        building, without routing statistics and seeds.
    """
    model = _model(config)
    chosen = model.expert_parameters * config.experts_per_token
    return Parameters(
        total=model.parameters,
        active=model.mirrored_parameters + chosen // config.num_experts,
    )


def _model(config):
    return translator_from_config("translator", vars(config), tokens=1)
