"""The MoE layers of a model as fields of its configuration.

A model's own configuration derives from `MoEConfig`: it gets the fields of
experts and gate, their checks, the layers that they describe and the dense
model to compare with.
"""

import dataclasses

import keras

from moe_keras.experts.feed_forward import FeedForwardExperts
from moe_keras.gating.configured import check_gate, make_gate
from moe_keras.sparse_moe import SparseMoE


@dataclasses.dataclass(frozen=True)
class MoEConfig:
    """Sizes and choices of a model's MoE layers, which are all alike.

    A class that derives from it may give its fields other defaults. Every
    field of type `int`, also of such a class, must be positive.

    Raises:
        ValueError: If a field is out of range, naming the field, what was
            expected and what came.

    Example:

    >>> config = MoEConfig(depth=4, num_experts=8, expert_hidden_dim=6)
    >>> layer = make_moe(config, "moe")
    >>> tuple(layer(keras.ops.ones((2, 4))).shape)
    (2, 4)
    >>> dense_twin(config).expert_hidden_dim
    12
    """

    depth: int = 256  # D: width of embeddings and of every layer's output
    num_experts: int = 16  # E: experts of each MoE; 1 is a dense layer
    experts_per_token: int = 2  # K: experts chosen for each token
    gate: str = "noisy_top_k"  # how experts are chosen: docs/gating.md
    gate_options: str = ""  # its other arguments: NAME=VALUE,NAME=VALUE
    expert_groups: int = 1  # G: groups of experts of a hierarchical gate
    groups_per_token: int = 1  # groups that share a token's K experts
    expert_hidden_dim: int = 512  # hidden units of one expert
    expert_bias: bool = True  # biases in the experts (the paper counts none)
    shared_hidden_dim: int | None = None  # of an expert that all tokens visit
    moe_activation: str = "sigmoid"  # on the MoE output (paper: sigmoid)
    importance_loss_weight: float = 0.01  # w_importance (equation 7)
    load_loss_weight: float = 0.01  # w_load (equation 11)
    capacity_factor: float | None = None  # None: dropless; else slots / mean

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or value < 1):
                raise ValueError(
                    f"`{field.name}` must be a positive integer. "
                    f"Received: {field.name}={value!r}"
                )
        for name in ("importance_loss_weight", "load_loss_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"`{name}` must not be negative. "
                    f"Received: {name}={getattr(self, name)}"
                )
        try:
            keras.activations.get(self.moe_activation)
        except ValueError:
            raise ValueError(
                "`moe_activation` must be the name of a Keras activation, "
                f"such as 'sigmoid'. Received: {self.moe_activation!r}"
            ) from None
        shared = self.shared_hidden_dim
        if shared is not None and (type(shared) is not int or shared < 1):
            raise ValueError(
                "`shared_hidden_dim` must be None or a positive integer. "
                f"Received: {shared!r}"
            )
        factor = self.capacity_factor
        is_number = isinstance(factor, int | float) and factor is not True
        if factor is not None and not (is_number and factor > 0):
            raise ValueError(
                "`capacity_factor` must be None or a number above zero. "
                f"Received: {factor!r}"
            )
        check_gate(self)


def make_moe(config, name, expert=None):
    """Makes an MoE layer as a configuration describes it.

    `moe_activation` is not applied: it belongs to what is around the layer.

    Args:
        config: `MoEConfig`.
        name: str.
        expert: As of `SparseMoE`; by default feed-forward experts with one
            hidden layer.

    Returns:
        `SparseMoE`.
    """
    gate = make_gate(config)
    weights = {}
    if not getattr(gate, "balances_itself", False):
        weights = {
            "importance_loss_weight": config.importance_loss_weight,
            "load_loss_weight": config.load_loss_weight,
        }
    if expert is None:
        expert = _feed_forward(
            config, config.num_experts, config.expert_hidden_dim, "experts"
        )
    shared = None
    if config.shared_hidden_dim is not None:
        shared = _feed_forward(config, 1, config.shared_hidden_dim, "expert")
    return SparseMoE(
        config.num_experts,
        gate=gate,
        expert=expert,
        shared_expert=shared,
        **weights,
        capacity_factor=config.capacity_factor,
        name=name,
    )


def _feed_forward(config, num_experts, hidden_dim, name):
    return FeedForwardExperts(
        num_experts, hidden_dim, use_bias=config.expert_bias, name=name
    )


def dense_twin(config):
    """Returns the configuration with one wide expert and the same ops.

    The paper's MoE-1-Wide (appendix C): each MoE becomes one feed-forward
    layer that every token visits, as wide as the `K` experts of a token
    together, the shared one included.

    Args:
        config: `MoEConfig`.
    """
    visited = config.experts_per_token * config.expert_hidden_dim
    return dataclasses.replace(
        config,
        num_experts=1,
        experts_per_token=1,
        gate="noisy_top_k",
        gate_options="",
        expert_groups=1,
        groups_per_token=1,
        expert_hidden_dim=visited + (config.shared_hidden_dim or 0),
        shared_hidden_dim=None,
        capacity_factor=None,
    )
