"""How long a training step takes at least, on devices of a given speed.

N: tokens of a batch    K: experts per token    R: devices
"""

import dataclasses
from typing import NamedTuple

from moe_keras.plan.layouts import Layout
from moe_keras.plan.memory import Memory, Training
from moe_keras.plan.model import Model
from moe_keras.plan.traffic import Traffic

_GIGA, _TERA = 10**9, 10**12
# Both passes read the weights, one writes their gradients, the update reads
# these and the weights, and writes the weights.
_PASSES = 6


@dataclasses.dataclass(frozen=True)
class Speed:
    """What one device can do, as measured and not as advertised.

    Attributes:
        teraflops: float. Of matrix products; a multiply-add counts as two.
        network_gb: float. GB (10^9 bytes) a second that it sends, while it
            receives as much.
        memory_gb: float. GB a second that it reads or writes in its memory.

    Raises:
        ValueError: If one of them is not above 0.
    """

    teraflops: float
    network_gb: float
    memory_gb: float

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ValueError(
                    f"`{name}` must be above 0. Received: {name}={value}"
                )


class StepTime(NamedTuple):
    """Seconds of a training step, of the device that has most to do.

    Attributes:
        products: Matrix products, also those that are recomputed.
        exchange: The all-to-all of tokens.
        reduce: Sums of the gradients of weights that several devices hold.
        weights: Passes over weights, gradients and what the optimizer keeps.
        teraflops: What each device then achieves, if nothing overlaps:
            products that are no recomputation, a multiply-add counted as two
            (as in the paper's tables 7 and 8).
    """

    products: float
    exchange: float
    reduce: float
    weights: float
    teraflops: float

    @property
    def total(self):
        """Seconds if nothing overlaps."""
        return self.products + self.exchange + self.reduce + self.weights


def step_time(
    model: Model,
    layout: Layout,
    training: Training,
    held: Memory,
    sent: Traffic,
    speed: Speed,
) -> StepTime:
    """Counts the seconds of a step, with a balanced load.

    Args:
        model: `Model`.
        layout: `Layout`.
        training: `Training`.
        held: `Memory` of the first device.
        sent: `Traffic` of the step.
        speed: `Speed`.

    Returns:
        `StepTime`.

    Example, of a device that does 10^12 products and nothing else:

    >>> from moe_keras.plan import PRESETS, layouts, memory, traffic
    >>> model, alone = PRESETS["4xlstm_512"], Training(tokens=10_000)
    >>> [one] = layouts(model, 1)
    >>> time = step_time(
    ...     model, one, alone, memory(model, one, alone),
    ...     traffic(model, one, alone), Speed(1, 1e9, 1e9),
    ... )
    >>> round(time.products, 3)  # 6 * 10,000 * (8.4 + 4.2 million)
    0.755
    """
    tokens = training.tokens or model.tokens
    own = tokens / layout.devices
    shared = own if layout.is_mirrored else tokens
    needed = 3 * (shared * model.mirrored_ops + own * model.expert_ops)
    again = own * sum(layer.recomputed_ops for layer in model.moe)
    weights = held.expert_weights + held.other_weights
    passes = _PASSES * weights + 2 * held.optimizer
    network = _GIGA * speed.network_gb
    time = StepTime(
        products=2 * (needed + again) / (_TERA * speed.teraflops),
        exchange=sent.first_device / network,
        reduce=sent.reduce / layout.devices / network,
        weights=passes / (_GIGA * speed.memory_gb),
        teraflops=0.0,
    )
    useful = 6 * own * (model.mirrored_ops + model.expert_ops)
    return time._replace(teraflops=useful / _TERA / time.total)
