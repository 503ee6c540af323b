"""Kernels rounded to few bits.

A kernel `(D, H)` is cut along D into groups of g rows. In each group each
column has a scale s, and perhaps a zero point z, of its own: `w = s (q - z)`
with whole numbers q of 2, 3, 4 or 8 bits. Several q share a byte, see
`moe_keras/packed/packing.py`. Experts have nothing in common, so that one with
large weights costs the others no precision.

E: experts    D: inputs of a kernel    H: its outputs    G: groups of g rows
"""

import dataclasses

import keras
import numpy as np

from moe_keras.checks import check_sizes

_ROWS = 8  # a packed kernel has a multiple of it, so that all bytes are full
_LEAST_SCALE = float(np.finfo("float32").tiny)
BITS = (2, 3, 4, 8)


@keras.saving.register_keras_serializable(package="moe_keras")
@dataclasses.dataclass(frozen=True)
class WeightQuantization:
    """How kernels are rounded.

    Attributes:
        bits: int. 2, 3, 4 or 8 for a weight.
        group_size: int. g, rows of a group; None for whole columns. Kernels
            of fewer rows have one group.
        zero_points: bool. Whether each group has a zero point, one byte, so
            that its least and its greatest weight need not be opposite; None
            for all but 8 bits.

    Raises:
        ValueError: If a value is none of these.

    Example:

    >>> WeightQuantization(bits=3, group_size=32).bits_per_weight
    4.25
    """

    bits: int
    group_size: int | None = None
    zero_points: bool | None = None

    def __post_init__(self):
        if self.bits not in BITS or isinstance(self.bits, bool):
            raise ValueError(
                "`bits` must be one of "
                f"{', '.join(map(str, BITS))}. Received: bits={self.bits!r}"
            )
        if self.group_size is not None:
            check_sizes(group_size=self.group_size)
        if self.zero_points is None:
            object.__setattr__(self, "zero_points", self.bits < 8)

    @classmethod
    def of(cls, value):
        """Make it of what people write.

        Args:
            value: `WeightQuantization`, its config, None, or one of "int8" (a
                scale for each column) and "int4" (groups of 128 with zero
                points), the modes of Keras.

        Returns:
            `WeightQuantization`, or None.
        """
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, dict):
            value = keras.saving.deserialize_keras_object(value)
        modes = {"int8": cls(8), "int4": cls(4, group_size=128)}
        if isinstance(value, str) and value in modes:
            return modes[value]
        if not isinstance(value, cls):
            raise ValueError(
                "A quantization must be 'int8', 'int4' or a "
                f"`WeightQuantization`. Received: {value!r}"
            )
        return value

    @property
    def bits_per_weight(self):
        """Bits of a weight with its share of scale and zero point.

        Without the scales where there is one for a whole column.
        """
        if self.group_size is None:
            return float(self.bits)
        return self.bits + (32 + 8 * self.zero_points) / self.group_size

    def groups(self, depth):
        """Number of groups and rows of each, of D rows."""
        size = min(depth, self.group_size or depth)
        return -(-depth // size), size

    def shapes(self, num_experts, depth, width):
        """Shapes and dtypes of what is kept of E kernels `(D, H)`.

        Returns:
            dict by name: "codes", "scale" and perhaps "zero".
        """
        number, size = self.groups(depth)
        rows = -(-number * size // _ROWS) * _ROWS
        scale = (num_experts, number, width)
        kept = {
            "codes": ((num_experts, rows * self.bits // 8, width), "uint8"),
            "scale": (scale, "float32"),
        }
        return kept | ({"zero": (scale, "uint8")} if self.zero_points else {})

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def grid_of_rows(rows, quantization):
    """Choose scale and zero point of each column of a group.

    Args:
        rows: Array `(g, H)`.
        quantization: `WeightQuantization`.

    Returns:
        Arrays `(H,)`: scale, float32, and zero point.
    """
    most = 2**quantization.bits - 1
    if not quantization.zero_points:
        scale = np.abs(rows).max(axis=0, initial=0) / (most // 2)
        middle = np.full(rows.shape[1], most // 2 + 1, "float32")
        return np.maximum(scale, _LEAST_SCALE).astype("float32"), middle
    least = rows.min(axis=0, initial=0)
    scale = (rows.max(axis=0, initial=0) - least) / most
    scale = np.maximum(scale, _LEAST_SCALE).astype("float32")
    return scale, np.clip(np.round(-least / scale), 0, most)


def nearest(rows, scale, zero, quantization):
    """Round weights to whole numbers of their grid.

    Args:
        rows: Array `(..., H)`.
        scale, zero: Arrays `(H,)`.
        quantization: `WeightQuantization`.

    Returns:
        Array of the shape of `rows`, of whole numbers from 0 on.
    """
    least = 0 if quantization.zero_points else 1  # both signs are alike
    most = 2**quantization.bits - 1
    return np.clip(np.round(rows / scale + zero), least, most)


def round_kernel(kernel, quantization):
    """Round the kernel of one expert to the nearest numbers.

    Args:
        kernel: Array `(D, H)`.
        quantization: `WeightQuantization`.

    Returns:
        dict of arrays: "codes" `(D, H)`, "scale" and "zero" `(G, H)`, not
        packed.

    Example:

    >>> kernel = np.array([[1.0], [-0.5], [0.25]])
    >>> rounded = round_kernel(kernel, WeightQuantization(8))
    >>> rounded["codes"].ravel().tolist()  # 127 steps to each side of 128
    [255, 64, 160]
    """
    number, size = quantization.groups(len(kernel))
    parts = [kernel[group * size :][:size] for group in range(number)]
    grids = [grid_of_rows(rows, quantization) for rows in parts]
    codes = [
        nearest(rows, *grid, quantization)
        for rows, grid in zip(parts, grids, strict=True)
    ]
    return {
        "codes": np.concatenate(codes).astype("uint8"),
        "scale": np.stack([scale for scale, _ in grids]),
        "zero": np.stack([zero for _, zero in grids]).astype("uint8"),
    }


def values_of_codes(rounded, quantization):
    """The kernel that `round_kernel` has made.

    Args:
        rounded: dict of arrays, as it returns.
        quantization: `WeightQuantization`.

    Returns:
        float32 array `(D, H)`.

    Example:

    >>> way = WeightQuantization(8)
    >>> rounded = round_kernel(np.array([[1.0], [-0.5]]), way)
    >>> values_of_codes(rounded, way).round(2).ravel().tolist()
    [1.0, -0.5]
    """
    codes = rounded["codes"].astype("float32")
    _, size = quantization.groups(len(codes))
    scale, zero = (
        np.repeat(rounded[name].astype("float32"), size, axis=0)[: len(codes)]
        for name in ("scale", "zero")
    )
    return scale * (codes - zero)
