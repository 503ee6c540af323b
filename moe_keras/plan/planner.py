"""Orders layouts: those that fit come first, the best at the top."""

import math
from typing import NamedTuple

from moe_keras.plan.layouts import Layout, layouts
from moe_keras.plan.memory import Memory, Training, memory
from moe_keras.plan.model import Model
from moe_keras.plan.step_time import Speed, StepTime, step_time
from moe_keras.plan.traffic import Traffic, traffic

_MOST_DEVICES = 2**17


class Row(NamedTuple):
    """One layout and what it needs.

    Attributes:
        layout: `Layout`.
        first: `Memory` of the first device, which never holds less than the
            others.
        other: `Memory` of each other device.
        traffic: `Traffic`.
        fits: bool. Whether the first device has that much memory.
        time: `StepTime`, or None where no speed is given.
    """

    layout: Layout
    first: Memory
    other: Memory
    traffic: Traffic
    fits: bool
    time: StepTime | None = None


class Plan(NamedTuple):
    """What each layout of R devices needs.

    Attributes:
        model: `Model`.
        training: `Training`.
        devices: int.
        memory_bytes: int or None. The memory of a device.
        rows: List of `Row`, the best first.
    """

    model: Model
    training: Training
    devices: int
    memory_bytes: int | None
    rows: list

    @property
    def best(self):
        """The best row, or None where nothing fits."""
        return self.rows[0] if self.rows and self.rows[0].fits else None


def plan(
    model: Model,
    devices: int,
    training: Training | None = None,
    memory_bytes: int | None = None,
    speed: Speed | None = None,
) -> Plan:
    """Counts all layouts and orders them.

    Layouts that fit come first, ordered by the ops of the busiest device,
    then by what is sent, then by memory. Layouts that do not fit are ordered
    by memory.

    Args:
        model: `Model`.
        devices: int. R.
        training: `Training`; by default Adam in float32.
        memory_bytes: int or None. What each device has; None for enough.
        speed: `Speed` or None. Of each device, to tell the time of a step.

    Returns:
        `Plan`.

    Raises:
        ValueError: if `devices` is below 1.

    Example:

    >>> from moe_keras.plan.presets import PRESETS
    >>> plan(PRESETS["moe_4096_h"], 16).best.layout.name
    'replicas, experts shared out'
    """
    training = training or Training()
    rows = [
        _row(model, layout, training, memory_bytes, speed)
        for layout in layouts(model, devices)
        if _is_possible(layout, training)
    ]
    rows.sort(key=lambda row: _order(model, row))
    return Plan(model, training, devices, memory_bytes, rows)


def _row(model, layout, training, memory_bytes, speed):
    held = memory(model, layout, training)
    sent = traffic(model, layout, training)
    return Row(
        layout,
        held,
        memory(model, layout, training, device=1),
        sent,
        _fits(model, layout, training, memory_bytes),
        speed and step_time(model, layout, training, held, sent, speed),
    )


def devices_needed(
    model: Model, training: Training, memory_bytes: int
) -> int | None:
    """Finds the least number of devices that has a layout that fits.

    It tries powers of two, and the common divisors of the layers' experts.

    Args:
        model: `Model`.
        training: `Training`.
        memory_bytes: int. The memory of each device.

    Returns:
        int, or None if no number is enough.

    Example:

    >>> from moe_keras.plan.presets import PRESETS
    >>> devices_needed(PRESETS["moe_4096_h"], Training(tokens=64), 40 * 10**9)
    4
    """
    experts = math.gcd(*(layer.num_experts for layer in model.moe))
    counts = {d for d in range(1, experts + 1) if experts % d == 0}
    counts |= {2**power for power in range(_MOST_DEVICES.bit_length())}
    for devices in sorted(counts):
        if any(
            _fits(model, layout, training, memory_bytes)
            for layout in layouts(model, devices)
            if _is_possible(layout, training)
        ):
            return devices
    return None


def _is_possible(layout, training):
    """Says whether the optimizer takes it: whole kernels if it factors them."""
    return layout.hidden == 1 or training.optimizer != "factored_adam"


def _fits(model, layout, training, memory_bytes):
    if memory_bytes is None:
        return True
    return memory(model, layout, training).total <= memory_bytes


def _order(model, row):
    if not row.fits:
        return (1, row.first.total)
    # Multiply-adds of the first device for each token, times R.
    others = 1 if row.layout.is_mirrored else row.layout.devices
    mirrored = model.mirrored_ops * others
    sent = row.traffic.exchange + row.traffic.reduce
    return (0, mirrored + model.expert_ops, sent, row.first.total)
