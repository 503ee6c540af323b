"""Counts the bytes that cross between devices in a training step.

N: tokens of a batch    D: depth    K: experts per token    R: devices
"""

from typing import NamedTuple

from moe_keras.plan.layouts import Layout
from moe_keras.plan.memory import Training
from moe_keras.plan.model import Model

_FLOAT = 4  # bytes of a gradient


class Traffic(NamedTuple):
    """What a training step sends, summed over all devices.

    Attributes:
        exchange: int. Bytes of tokens to their experts and of results back,
            forward and backward: the all-to-all.
        reduce: int. Bytes of gradients of weights that several devices hold.
        ops: int. Multiply-adds of the experts, forward and backward.
        first_device: int. Bytes of the exchange that the first device sends,
            and as many that it receives; no device sends more.
    """

    exchange: int
    reduce: int
    ops: int
    first_device: int

    @property
    def ops_per_byte(self):
        """Multiply-adds of the experts for each byte of the all-to-all.

        It depends on the hidden size of an expert, and on nothing else of the
        model (section 3.2 of the paper). None where nothing is exchanged.
        """
        return self.ops / self.exchange if self.exchange else None


def traffic(model: Model, layout: Layout, training: Training) -> Traffic:
    """Counts the least that a layout can send in a step, with a balanced load.

    A token visits K experts, and the fraction `(R - 1) / R` of them is on
    another device: `2 K N D (R - 1) / R` numbers forward, there and back, and
    as many backward.

    On a mesh all other layers are on the first device, which sends a token
    once to each device with experts of the token; the K experts are taken to
    be on as many devices as possible. If one dimension splits batch and
    experts, each device first gets its piece of the batch. From there tokens
    travel choice by choice, to each piece of the hidden layer of an expert.

    The gradient of a weight that c devices hold takes at least `2 (c - 1)`
    times its size.

    Args:
        model: `Model`.
        layout: `Layout`.
        training: `Training`.

    Returns:
        `Traffic`.

    Example:

    >>> from moe_keras.plan import PRESETS, Training, layouts
    >>> model = PRESETS["moe_32"]
    >>> shared = layouts(model, 4)[1]
    >>> traffic(model, shared, Training(tokens=100)).exchange
    2457600
    """
    tokens = training.tokens or model.tokens
    from_first, among_all = (
        round(4 * tokens * visits * training.activation_bytes)
        for visits in _visits(model, layout)
    )
    return Traffic(
        exchange=from_first + among_all,
        reduce=_reduced(model, layout),
        ops=3 * tokens * model.expert_ops,
        # Of what leaves the first device, as much comes back to it.
        first_device=from_first // 2 + among_all // layout.devices,
    )


def _visits(model, layout):
    """Counts the other devices that a token is sent to, on average.

    Returns:
        Those that the first device sends it to, and those that any device
        does, times the depth of the layers.
    """
    from_first = among_all = 0.0
    for layer in model.moe:
        elsewhere = layer.k * layout.hidden * (1 - 1 / layout.experts)
        if layout.is_mirrored:
            among_all += layer.depth * elsewhere
        elif layout.exchanges:
            from_first += layer.depth * (layout.devices - 1) / layout.batch
            among_all += layer.depth * elsewhere
        else:
            asked = min(layer.k, layout.experts) * layout.hidden
            from_first += layer.depth * asked * (1 - 1 / layout.devices)
    return from_first, among_all


def _reduced(model, layout):
    twice = 2 * _FLOAT
    experts = twice * (layout.copies - 1) * model.expert_parameters
    if not layout.is_mirrored:
        return experts
    return experts + twice * (layout.devices - 1) * model.mirrored_parameters
