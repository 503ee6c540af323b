"""The one object from which a translator is built."""

import dataclasses

from moe_keras.moe_config import MoEConfig

ATTENTIONS = ("product", "additive", "dot")
CONTEXTS = ("first", "all")


@dataclasses.dataclass(frozen=True)
class TranslatorConfig(MoEConfig):
    """Sizes and shape of the GNMT-style translator (paper, appendix E).

    The fields of its MoE layers are those of `MoEConfig`. The defaults are a
    small model; `trainers` has the paper's.

    Raises:
        ValueError: when a field is out of range, naming the field, what was
            expected and what came.

    Example:

    >>> config = TranslatorConfig(vocab_size=100, num_experts=8)
    >>> config.encoder_layers, config.experts_per_token
    (3, 2)
    """

    vocab_size: int = 4000  # V: subwords shared by source and target
    lstm_units: int = 256  # H: cells of an LSTM; projected to `depth` if unlike
    encoder_layers: int = 3  # LSTM layers of the encoder
    decoder_layers: int = 2  # LSTM layers of the decoder
    bidirectional: bool = True  # first encoder layer reads in both directions
    encoder_moe_after: tuple = (2,)  # an MoE follows these LSTMs (from 1)
    decoder_moe_after: tuple = (1,)  # the same in the decoder
    attention: str = "product"  # "product" (appendix G), "additive" or "dot"
    attention_units: int = 256  # A: size of attention keys and queries
    context_to: str = "all"  # decoder LSTMs fed with context: "first" or "all"
    readout: bool = True  # the softmax too hears the context, by a linear map
    dropout: float = 0.3  # on every embedding, LSTM and MoE output
    source_word_dropout: float = 0.0  # fraction of source subwords left blank
    target_word_dropout: float = 0.0  # the same of those that the decoder reads
    share_embeddings: bool = True  # one table for source and target
    share_softmax: bool = True  # the target table is the softmax kernel too

    def __post_init__(self):
        for name in ("encoder_moe_after", "decoder_moe_after"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        super().__post_init__()
        self._check_others()
        for side in ("encoder", "decoder"):
            layers = getattr(self, f"{side}_layers")
            places = getattr(self, f"{side}_moe_after")
            known = range(1, layers + 1)
            if len({*places}.intersection(known)) < len(places):
                raise ValueError(
                    f"`{side}_moe_after` must name LSTM layers from 1 to "
                    f"{side}_layers={layers}, each once. Received: {places}"
                )
        if self.bidirectional and (self.depth % 2 or self.lstm_units % 2):
            raise ValueError(
                "`depth` and `lstm_units` must be even when `bidirectional`: "
                "each direction has half of them. Received: "
                f"depth={self.depth}, lstm_units={self.lstm_units}"
            )

    def _check_others(self):
        for name in ("dropout", "source_word_dropout", "target_word_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(
                    f"`{name}` must be at least 0 and below 1. "
                    f"Received: {getattr(self, name)}"
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
