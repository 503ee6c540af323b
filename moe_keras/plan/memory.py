"""Counts the bytes on each device: weights, gradients, activations, ..."""

import dataclasses
from typing import NamedTuple

from moe_keras.plan.layouts import Layout
from moe_keras.plan.model import Model

OPTIMIZERS = ("adam", "factored_adam")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_FLOAT = 4  # bytes of a weight, of its gradient and of what an optimizer keeps


@dataclasses.dataclass(frozen=True)
class Training:
    """How a model is trained.

    Attributes:
        tokens: int or None. Tokens of a batch on all devices; by default the
            model's.
        optimizer: `"adam"`, with two moments, or `"factored_adam"`, see
            `moe_keras.FactoredAdam`.
        average: bool. Whether a moving average of the weights is kept.
        accumulate: bool. Whether gradients of several batches are summed.
        precision: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.

    Raises:
        ValueError: If a value is none of these.
    """

    tokens: int | None = None
    optimizer: str = "adam"
    average: bool = False
    accumulate: bool = False
    precision: str = "float32"

    def __post_init__(self):
        known = {"optimizer": OPTIMIZERS, "precision": PRECISIONS}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(values)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        if self.tokens is not None and self.tokens < 1:
            raise ValueError(
                f"`tokens` must be at least 1. Received: tokens={self.tokens}"
            )

    @property
    def activation_bytes(self):
        return 4 if self.precision == "float32" else 2


class Memory(NamedTuple):
    """Bytes on one device at the peak of a training step.

    Attributes:
        expert_weights: Weights of the experts there.
        other_weights: Weights of all other layers there.
        optimizer: What the optimizer keeps of these weights.
        gradients: Gradients of them, and their sums over accumulated batches.
        average: Moving average of the weights.
        activations: What the forward pass keeps for the backward pass.
        passing: What an MoE layer also needs during its backward pass; of the
            layer that needs most.
    """

    expert_weights: int
    other_weights: int
    optimizer: int
    gradients: int
    average: int
    activations: int
    passing: int

    @property
    def total(self):
        return sum(self)


def memory(
    model: Model, layout: Layout, training: Training, device: int = 0
) -> Memory:
    """Counts what a device holds. All devices but the first are alike.

    The load is taken to be balanced. Left out are what passes through other
    layers, buffers of communication, and the scores of attention, which grow
    with the length of a sentence.

    Args:
        model: `Model`.
        layout: `Layout`.
        training: `Training`.
        device: int. 0 for the first device, any other number for the others.

    Returns:
        `Memory`.

    Example:

    >>> from moe_keras.plan import PRESETS, layouts
    >>> model = PRESETS["moe_4096_h"]
    >>> shared = layouts(model, 16)[1]
    >>> held = memory(model, shared, Training(optimizer="factored_adam"))
    >>> held.expert_weights == 4 * 4096 * 2 * 512 * 1024 // 16
    True
    """
    has_others = layout.is_mirrored or device == 0
    experts = sum(_expert_numbers(layer, layout) for layer in model.moe)
    others = model.mirrored_parameters if has_others else 0
    kept_by_optimizer = sum(
        _expert_averages(layer, layout, training.optimizer)
        for layer in model.moe
    )
    if has_others:
        kept_by_optimizer += _other_averages(model, training.optimizer)
    numbers = experts + others
    return Memory(
        expert_weights=_FLOAT * experts,
        other_weights=_FLOAT * others,
        optimizer=_FLOAT * kept_by_optimizer,
        gradients=_FLOAT * numbers * (2 if training.accumulate else 1),
        average=_FLOAT * numbers if training.average else 0,
        activations=_activations(model, layout, training, has_others, numbers),
        passing=_passing(model, layout, training, device),
    )


def _expert_numbers(layer, layout):
    kernels = layer.kernel_parameters // layout.pieces
    return kernels + _biases(layer, layout)


def _biases(layer, layout):
    """The output bias lives with the first piece of the hidden layer."""
    if not layer.bias:
        return 0
    width = layer.sides * layer.hidden_dim // layout.hidden + layer.depth
    return layer.num_experts // layout.experts * width


def _expert_averages(layer, layout, optimizer):
    if optimizer == "adam":
        return 2 * _expert_numbers(layer, layout)
    # The rows and columns of both kernels, and two moments of the biases.
    hidden = (layer.sides + 1) * layer.hidden_dim // layout.hidden
    edges = 2 * layer.depth + hidden
    experts = layer.num_experts // layout.experts
    return experts * edges + 2 * _biases(layer, layout)


def _other_averages(model, optimizer):
    plain = 2 * model.mirrored_parameters
    if optimizer == "adam":
        return plain
    return plain + sum(
        layer.factored_averages - 2 * layer.factored_parameters
        for layer in model.moe
    )


def _activations(model, layout, training, has_others, numbers):
    tokens = training.tokens or model.tokens
    slots = sum(_slot_numbers(layer, layout) for layer in model.moe)
    kept = _in_slots(slots, layout, tokens)
    if has_others:
        own = -(-tokens // layout.batch) if layout.is_mirrored else tokens
        kept += own * (
            model.dense.kept + sum(layer.token_kept for layer in model.moe)
        )
    # In mixed precision the weights are cast, and the copies are kept.
    cast = numbers if training.precision != "float32" else 0
    return training.activation_bytes * (kept + cast)


def _passing(model, layout, training, device):
    """Counts three gradients of each choice: of the result, before and after
    it is multiplied by the gate, and of the input of the expert.

    Where the first device has the batch and other devices have experts, it
    also holds all rows that it sends.
    """
    tokens = training.tokens or model.tokens
    leaves = not (layout.is_mirrored or layout.exchanges or device)
    passing = [
        _in_slots(3 * layer.k * layer.depth, layout, tokens)
        + leaves * tokens * min(layer.k, layout.experts) * layer.depth
        for layer in model.moe
    ]
    return training.activation_bytes * max(passing, default=0)


def _in_slots(numbers, layout, tokens):
    """Returns how many of these numbers of each token are on one device.

    Devices that hold copies of a piece share its tokens; devices that hold
    pieces of a hidden layer all have the tokens.
    """
    return -(-tokens * numbers * layout.hidden // layout.devices)


def _slot_numbers(layer, layout):
    """Counts inputs, hidden activations and outputs of a token's K experts."""
    hidden = layer.sides * layer.hidden_dim // layout.hidden
    hidden = 0 if layer.recompute else hidden
    return layer.k * (2 * layer.depth + hidden)
