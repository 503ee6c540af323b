"""The one object from which a translator is built."""

import dataclasses

import keras

from moe_keras.gating.configured import check_gate

ATTENTIONS = ("product", "additive", "dot")
CONTEXTS = ("first", "all")


@dataclasses.dataclass(frozen=True)
class TranslatorConfig:
    """Sizes and shape of the GNMT-style translator (paper, appendix E).

    The defaults are a small model; `trainers` has the paper's.

    Raises:
        ValueError: when a field is out of range, naming the field, what was
            expected and what came.

    Example:

    >>> config = TranslatorConfig(vocab_size=100, num_experts=8)
    >>> dense_twin(config).num_experts
    1
    """

    vocab_size: int = 4000  # V: subwords shared by source and target
    depth: int = 256  # D: width of embeddings and of every layer's output
    lstm_units: int = 256  # H: cells of an LSTM; projected to `depth` if unlike
    encoder_layers: int = 3  # LSTM layers of the encoder
    decoder_layers: int = 2  # LSTM layers of the decoder
    bidirectional: bool = True  # first encoder layer reads in both directions
    encoder_moe_after: tuple = (2,)  # an MoE follows these LSTMs (from 1)
    decoder_moe_after: tuple = (1,)  # the same in the decoder
    num_experts: int = 16  # E: experts of each MoE; 1 is a dense layer
    experts_per_token: int = 2  # K: experts chosen for each token
    gate: str = "noisy_top_k"  # how experts are chosen: docs/gating.md
    gate_options: str = ""  # its other arguments: NAME=VALUE,NAME=VALUE
    expert_groups: int = 1  # G: groups of experts of a hierarchical gate
    groups_per_token: int = 1  # groups that share a token's K experts
    expert_hidden_dim: int = 512  # hidden units of one expert
    expert_bias: bool = True  # biases in the experts (the paper counts none)
    moe_activation: str = "sigmoid"  # on the MoE output (paper: sigmoid)
    importance_loss_weight: float = 0.01  # w_importance (equation 7)
    load_loss_weight: float = 0.01  # w_load (equation 11)
    capacity_factor: float | None = None  # None: dropless; else slots / mean
    attention: str = "product"  # "product" (appendix G), "additive" or "dot"
    attention_units: int = 256  # A: size of attention keys and queries
    context_to: str = "all"  # decoder LSTMs fed with context: "first" or "all"
    readout: bool = True  # the softmax too hears the context, by a linear map
    dropout: float = 0.3  # on every embedding, LSTM and MoE output
    source_word_dropout: float = 0.0  # share of source subwords left blank
    target_word_dropout: float = 0.0  # the same of those that the decoder reads
    share_embeddings: bool = True  # one table for source and target
    share_softmax: bool = True  # the target table is the softmax kernel too

    def __post_init__(self):
        for name in ("encoder_moe_after", "decoder_moe_after"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_sizes()
        for side in ("encoder", "decoder"):
            layers = getattr(self, f"{side}_layers")
            places = getattr(self, f"{side}_moe_after")
            known = range(1, layers + 1)
            if len({*places}.intersection(known)) < len(places):
                raise ValueError(
                    f"`{side}_moe_after` must name LSTM layers from 1 to "
                    f"{side}_layers={layers}, each once. Received: {places}"
                )
        check_gate(self)
        if self.bidirectional and (self.depth % 2 or self.lstm_units % 2):
            raise ValueError(
                "`depth` and `lstm_units` must be even when `bidirectional`: "
                "each direction has half of them. Received: "
                f"depth={self.depth}, lstm_units={self.lstm_units}"
            )

    def _check_sizes(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_size = field.type is int
            if is_size and (type(value) is not int or value < 1):
                raise ValueError(
                    f"`{field.name}` must be a positive integer. "
                    f"Received: {value!r}"
                )
        for name in ("dropout", "source_word_dropout", "target_word_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(
                    f"`{name}` must be at least 0 and below 1. "
                    f"Received: {getattr(self, name)}"
                )
        for name in ("importance_loss_weight", "load_loss_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"`{name}` must not be negative. "
                    f"Received: {getattr(self, name)}"
                )
        try:
            keras.activations.get(self.moe_activation)
        except ValueError:
            raise ValueError(
                "`moe_activation` must be the name of a Keras activation, "
                f"such as 'sigmoid'. Received: {self.moe_activation!r}"
            ) from None
        factor = self.capacity_factor
        is_number = isinstance(factor, int | float) and factor is not True
        if factor is not None and not (is_number and factor > 0):
            raise ValueError(
                "`capacity_factor` must be None or a number above zero. "
                f"Received: {factor!r}"
            )
        choices = {"attention": ATTENTIONS, "context_to": CONTEXTS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. "
                    f"Received: {getattr(self, name)!r}"
                )

    @property
    def projection_dim(self):
        """Output size of an LSTM, or None where it needs no projection."""
        return None if self.lstm_units == self.depth else self.depth


def dense_twin(config):
    """The model of the same ops per timestep with one wide expert.

    The paper's MoE-1-Wide (appendix C): each MoE becomes one feed-forward
    layer that every token visits, as wide as the `K` experts of a token
    together.
    """
    return dataclasses.replace(
        config,
        num_experts=1,
        experts_per_token=1,
        gate="noisy_top_k",
        gate_options="",
        expert_groups=1,
        groups_per_token=1,
        expert_hidden_dim=config.experts_per_token * config.expert_hidden_dim,
        capacity_factor=None,
    )
