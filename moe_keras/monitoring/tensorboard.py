"""Writes the routing for TensorBoard.

E: experts    W: windows
"""

import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from moe_keras.monitoring.verdicts import LEVELS

SCALARS = (
    "cv_load",
    "cv_importance",
    "max_over_mean_load",
    "entropy",
    "spread",
    "idle_experts",
    "mean_k",
    "changed_share",
    "noise_over_gap",
    "gate_gradient",
    "balancing_loss",
)
MAX_SIDE = 256  # most experts, or windows, that a heat map tells apart
PIXELS = 512  # the side of a heat map, about
IMAGE_EVERY = 10  # windows between heat maps


class RoutingSummaries:
    """Writes windows to the default summary writer.

    It writes scalars and histograms of each window, and every ten windows a
    heat map of the load, experts from top to bottom and time from left to
    right: white is even load, blue less, red more (full at twice the mean).

    Example:

    >>> import os, tempfile
    >>> from moe_keras.monitoring.windows import make_window
    >>> folder = tempfile.mkdtemp()
    >>> with tf.summary.create_file_writer(folder).as_default():
    ...     RoutingSummaries().write([make_window("moe", 10, 10, 6, [6, 3, 3])])
    >>> len(os.listdir(folder))
    1
    """

    def __init__(self):
        self._loads = {}

    def write(self, windows):
        """Writes one window of each layer.

        Args:
            windows: List of `RoutingWindow`.
        """
        for window in windows:
            # One operation for all of it: protocol buffers that stand one
            # after the other are read as one message with all values.
            message = b"".join(
                part.SerializeToString() for part in _messages(window)
            )
            tf.summary.experimental.write_raw_pb(message, window.step)
            self._write_heat_map(window)

    def _write_heat_map(self, window):
        loads = self._loads.setdefault(window.layer, [])
        loads.append(shrink(relative_load(window.load), MAX_SIDE))
        if len(loads) % IMAGE_EVERY == 1:
            image = heat_map(shrink(np.stack(loads, axis=1), MAX_SIDE))
            tf.summary.image(
                f"{window.layer}/load_over_time", image[None], window.step
            )


def _messages(window):
    """Yields the scalars and histograms of a window, as `Summary` messages."""
    for field in SCALARS:
        value = getattr(window, field)
        if value is not None:
            yield scalar_pb(f"{window.layer}/{field}", float(value))
    for name, value in window.gate_metrics.items():
        yield scalar_pb(f"{window.layer}/gate/{name}", value)
    if window.verdict is not None:
        level = LEVELS.index(window.verdict.level)
        yield scalar_pb(f"{window.layer}/verdict", float(level))
    for field in ("importance", "load"):
        yield histogram_pb(f"{window.layer}/{field}", getattr(window, field))


def relative_load(load):
    """Divides the load by its mean; zeros where there is no load.

    >>> relative_load([3, 1, 2]).tolist()
    [1.5, 0.5, 1.0]
    """
    load = np.asarray(load, "float64")
    mean = load.mean()
    return load / mean if mean else load


def shrink(values, side):
    """Averages neighbours until no axis is longer than `side`.

    >>> shrink(np.array([[1.0, 3.0, 5.0]]), 2).tolist()
    [[2.0, 5.0]]
    """
    for axis, size in enumerate(values.shape):
        group = -(-size // side)
        starts = np.arange(0, size, group)
        lengths = np.diff(np.append(starts, size))
        shape = [1] * values.ndim
        shape[axis] = -1
        values = np.add.reduceat(values, starts, axis) / lengths.reshape(shape)
    return values


def heat_map(relative):
    """Colours relative loads, enlarged to a size that can be seen.

    Args:
        relative: float array `(E, W)`, 1 at even load.

    Returns:
        uint8 array `(rows, columns, 3)`.

    Example:

    >>> heat_map(np.array([[0.0, 1.0, 2.0]]))[0, [0, 200, 400]].tolist()
    [[0, 0, 255], [255, 255, 255], [255, 0, 0]]
    """
    above = np.clip(relative - 1, 0, 1)
    below = np.clip(1 - relative, 0, 1)
    colours = np.stack([1 - below, 1 - above - below, 1 - above], axis=-1)
    pixels = np.round(255 * colours).astype("uint8")
    for axis in (0, 1):
        pixels = np.repeat(pixels, -(-PIXELS // pixels.shape[axis]), axis)
    return pixels
