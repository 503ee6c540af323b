"""The one object from which a language model is built."""

import dataclasses

from moe_keras.moe_config import MoEConfig

LAYERS = ("lstm", "moe")


@dataclasses.dataclass(frozen=True)
class LanguageModelConfig(MoEConfig):
    """Sizes and shape of a language model (paper, appendix C).

    The fields of its MoE layers are those of `MoEConfig`.

    Raises:
        ValueError: when a field is out of range, naming the field, what was
            expected and what came.

    Example:

    >>> config = LanguageModelConfig(vocab_size=100, num_experts=8)
    >>> config.num_experts, config.layers
    (8, ('lstm', 'moe', 'lstm'))
    """

    vocab_size: int = 8000  # V: subwords or words
    depth: int = 128  # D: width of embeddings and of every layer's output
    layers: tuple[str, ...] = ("lstm", "moe", "lstm")  # below the softmax
    lstm_units: int = 128  # H: cells of an LSTM; projected to `depth` if unlike
    num_experts: int = 32  # E: experts of each MoE; 1 is a dense layer
    experts_per_token: int = 4  # K: experts chosen for each token
    expert_hidden_dim: int = 256  # units of an expert's hidden layer
    expert_hidden_layers: int = 1  # of each expert (MoE-1-Deep has 4)
    expert_bias: bool = False  # biases in the experts (the paper counts none)
    importance_loss_weight: float = 0.1  # w_importance (equation 7)
    load_loss_weight: float = 0.1  # w_load (equation 11)
    dropout: float = 0.1  # on every output of embedding, LSTM and MoE
    share_softmax: bool = False  # the embedding is the softmax kernel too

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))
        super().__post_init__()
        self._check_layers()

    def _check_layers(self):
        unknown = [kind for kind in self.layers if kind not in LAYERS]
        if unknown or not self.layers:
            raise ValueError(
                "`layers` must be a tuple of 'lstm' and 'moe', in their order "
                "from the embedding on, such as ('lstm', 'moe', 'lstm'). "
                f"Received: layers={self.layers}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(
                "`dropout` must be at least 0 and below 1. "
                f"Received: dropout={self.dropout}"
            )

    @property
    def projection_dim(self):
        """Output size of an LSTM, or None where it needs no projection."""
        return None if self.lstm_units == self.depth else self.depth
