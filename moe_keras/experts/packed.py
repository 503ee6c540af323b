"""Kernels of experts in few bits: rounding, packing, and back.

A kernel `(D, H)` of one expert is cut along D into groups of g rows. In each
group each column has a scale s, and perhaps a zero point z, of its own:
`w = s (q - z)` with whole numbers q of 2, 3, 4 or 8 bits. Several q share a
byte. Experts have nothing in common, so that one with large weights costs the
others no precision.

E: experts    D: inputs of a kernel    H: its outputs    G: groups of g rows
P: bytes of a packed column
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from moe_keras.checks import check_sizes
from moe_keras.xla import is_compiled_by_xla

# Bits of the fields into which a number is cut: fields of one width fill bytes.
_FIELDS = {2: (2,), 3: (2, 1), 4: (4,), 8: (8,)}
_ROWS = 8  # a packed kernel has a multiple of it, so that all bytes are full
_LEAST_SCALE = float(np.finfo("float32").tiny)


@keras.saving.register_keras_serializable(package="moe_keras")
@dataclasses.dataclass(frozen=True)
class ExpertQuantization:
    """How kernels of experts are rounded.

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

    >>> ExpertQuantization(bits=3, group_size=32).bits_per_weight
    4.25
    """

    bits: int
    group_size: int | None = None
    zero_points: bool | None = None

    def __post_init__(self):
        if self.bits not in _FIELDS or isinstance(self.bits, bool):
            raise ValueError(
                "`bits` must be one of "
                f"{', '.join(map(str, _FIELDS))}. Received: bits={self.bits!r}"
            )
        if self.group_size is not None:
            check_sizes(group_size=self.group_size)
        if self.zero_points is None:
            object.__setattr__(self, "zero_points", self.bits < 8)

    @classmethod
    def of(cls, value):
        """Make it of what people write.

        Args:
            value: `ExpertQuantization`, its config, None, or one of "int8" (a
                scale for each column) and "int4" (groups of 128 with zero
                points), as Keras has them for other layers.

        Returns:
            `ExpertQuantization`, or None.
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
                "A quantization of experts must be 'int8', 'int4' or an "
                f"`ExpertQuantization`. Received: {value!r}"
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
        quantization: `ExpertQuantization`.

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
        quantization: `ExpertQuantization`.

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
        quantization: `ExpertQuantization`.

    Returns:
        dict of arrays: "codes" `(D, H)`, "scale" and "zero" `(G, H)`, not
        packed.

    Example:

    >>> kernel = np.array([[1.0], [-0.5], [0.25]])
    >>> rounded = round_kernel(kernel, ExpertQuantization(8))
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
        quantization: `ExpertQuantization`.

    Returns:
        float32 array `(D, H)`.

    Example:

    >>> way = ExpertQuantization(8)
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


def pack(codes, bits):
    """Put several whole numbers into each byte of a column.

    Args:
        codes: uint8 array `(D, H)`; D a multiple of 8.
        bits: int.

    Returns:
        uint8 array `(P, H)`.

    Example:

    >>> pack(np.arange(8, dtype="uint8")[:, None], 4).ravel().tolist()
    [64, 81, 98, 115]
    """
    packed, shift = [], 0
    for width in _FIELDS[bits]:
        field = (codes >> shift) & (2**width - 1)
        parts = np.split(field, 8 // width)
        total = np.zeros_like(parts[0])
        for place, part in enumerate(parts):
            total |= part << (width * place)
        packed.append(total)
        shift += width
    return np.concatenate(packed)


def unpack(packed, bits):
    """Take the numbers out of the bytes again: `pack`, backward.

    Args:
        packed: uint8 tensor `(P, H)`.
        bits: int.

    Returns:
        uint8 tensor `(D, H)`.

    Example:

    >>> codes = np.arange(8, dtype="uint8")[:, None]
    >>> unpack(pack(codes, 3), 3).numpy().ravel().tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    if bits == 8:
        return packed
    rows = packed.shape[0] * 8 // bits
    codes, start, shift = None, 0, 0
    for width in _FIELDS[bits]:
        part = packed[start : start + rows * width // 8]
        fields = [
            tf.bitwise.right_shift(part, tf.constant(width * place, tf.uint8))
            & (2**width - 1)
            for place in range(8 // width)
        ]
        field = tf.bitwise.left_shift(
            tf.concat(fields, axis=0), tf.constant(shift, tf.uint8)
        )
        codes = field if codes is None else codes | field
        start += rows * width // 8
        shift += width
    return codes


@dataclasses.dataclass(frozen=True)
class PackedKernels:
    """The packed kernels of all experts as tensors, in the place of a tensor.

    Attributes:
        codes: uint8 tensor `(E, P, H)`.
        scale: float32 tensor `(E, G, H)`.
        zero: uint8 tensor `(E, G, H)`, or None.
        quantization: `ExpertQuantization`.
        shape: tuple `(E, D, H)`.
        dtype: Dtype of the kernels that come out.
    """

    codes: Any
    scale: Any
    zero: Any
    quantization: ExpertQuantization
    shape: tuple
    dtype: Any

    def of_expert(self, expert):
        """The kernel `(D, H)` of one expert, its number an int32 tensor."""
        take = tf.gather if is_compiled_by_xla() else lambda x, e: x[e]
        return self._kernel(
            take(self.codes, expert),
            take(self.scale, expert),
            None if self.zero is None else take(self.zero, expert),
        )

    def whole(self):
        """The kernels `(E, D, H)` of all experts."""
        experts = range(self.shape[0])
        return tf.stack([self.of_expert(expert) for expert in experts])

    def _kernel(self, codes, scale, zero):
        bits, (depth, width) = self.quantization.bits, self.shape[1:]
        number, size = self.quantization.groups(depth)
        codes = unpack(codes, bits)[: number * size]
        middle = float(2 ** (bits - 1))
        if zero is not None:
            middle = tf.cast(zero, tf.float32)[:, None]
        codes = tf.reshape(codes, [number, size, width])
        kernel = (tf.cast(codes, tf.float32) - middle) * scale[:, None]
        kernel = tf.reshape(kernel, [number * size, width])[:depth]
        return tf.cast(kernel, self.dtype)


class PackedWeight:
    """The packed kernels of all experts in variables of their layer.

    Args:
        layer: Keras layer to whose weights the variables are added.
        name: str.
        shape: tuple `(E, D, H)`.
        quantization: `ExpertQuantization`.

    Example:

    >>> layer = keras.layers.Layer()
    >>> weight = PackedWeight(layer, "kernel", (2, 8, 3), ExpertQuantization(4))
    >>> weight.assign(np.ones((2, 8, 3)))
    >>> float(np.asarray(weight).min()), tuple(weight.codes.shape)
    (1.0, (2, 4, 3))
    """

    def __init__(self, layer, name, shape, quantization):
        self.name = name
        self.shape = tuple(shape)
        self.quantization = quantization
        self.zero = None
        for kind, (size, dtype) in quantization.shapes(*self.shape).items():
            variable = layer.add_weight(
                name=f"{name}_{kind}",
                shape=size,
                dtype=dtype,
                initializer="zeros",
                trainable=False,
                autocast=False,
            )
            setattr(self, kind, variable)

    @property
    def parts(self):
        """dict of the variables: "codes", "scale" and perhaps "zero"."""
        parts = {"codes": self.codes, "scale": self.scale, "zero": self.zero}
        return {kind: v for kind, v in parts.items() if v is not None}

    @property
    def variables(self):
        return tuple(self.parts.values())

    def tensors(self, dtype):
        """The `PackedKernels` of its values."""
        return PackedKernels(
            tf.convert_to_tensor(self.codes),
            tf.convert_to_tensor(self.scale),
            None if self.zero is None else tf.convert_to_tensor(self.zero),
            self.quantization,
            self.shape,
            tf.as_dtype(dtype),
        )

    def assign(self, value):
        """Round kernels `(E, D, H)` to the nearest numbers, and keep those."""
        kernels = np.asarray(value)
        if kernels.shape != self.shape:
            raise ValueError(
                f"{self.name} takes kernels of the shape {self.shape}. "
                f"Received: {kernels.shape}"
            )
        self.assign_rounded(
            [
                round_kernel(kernel.astype("float32"), self.quantization)
                for kernel in kernels
            ]
        )

    def assign_rounded(self, rounded):
        """Keep what `round_kernel` has made of each expert's kernel."""
        rows = self.codes.shape[1] * 8 // self.quantization.bits
        codes = [
            np.pad(each["codes"], [[0, rows - len(each["codes"])], [0, 0]])
            for each in rounded
        ]
        self.codes.assign(
            np.stack([pack(each, self.quantization.bits) for each in codes])
        )
        self.scale.assign(np.stack([each["scale"] for each in rounded]))
        if self.zero is not None:
            self.zero.assign(np.stack([each["zero"] for each in rounded]))

    def numpy(self):
        return self.tensors("float32").whole().numpy()

    def __array__(self, dtype=None, copy=None):
        del copy  # it always is one
        return np.asarray(self.numpy(), dtype)
