"""Planned layouts started on four logical devices, and what is held there."""

import collections
import math
import shlex

from moe_keras.parallel.processes.strategies import start_workers
from moe_keras.parallel.replicas.weight import copies_of


def started(layout):
    """The `Workers` that a trainer would make of a planned layout's flags."""
    pairs = (flag.split("=", 1) for flag in shlex.split(layout.flags))
    return start_workers(
        **{name.removeprefix("--"): value for name, value in pairs}
    )


def bytes_by_device(variables):
    """Bytes of Keras or TensorFlow variables, by the number of the device."""
    held = collections.Counter()
    for variable in variables:
        for copy in copies_of(variable):
            number = int(copy.device.rpartition(":")[-1])
            held[number] += copy.dtype.size * math.prod(copy.shape)
    return held
