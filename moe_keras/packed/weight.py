"""Packed kernels and matrices in variables of their layer, and as tensors.

E: experts    D: inputs of a kernel    H: its outputs    G: groups of g rows
P: bytes of a packed column
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from moe_keras.packed.packing import pack, unpack
from moe_keras.packed.rounding import WeightQuantization, round_kernel
from moe_keras.placement.split_weight import whole_tensor
from moe_keras.xla import is_compiled_by_xla


@dataclasses.dataclass(frozen=True)
class PackedKernels:
    """The packed kernels of all experts as tensors, in the place of a tensor.

    Attributes:
        codes: uint8 tensor `(E, P, H)`.
        scale: float32 tensor `(E, G, H)`.
        zero: uint8 tensor `(E, G, H)`, or None.
        quantization: `WeightQuantization`.
        shape: tuple `(E, D, H)`.
        dtype: Dtype of the kernels that come out.
    """

    codes: Any
    scale: Any
    zero: Any
    quantization: WeightQuantization
    shape: tuple
    dtype: Any

    def of_expert(self, expert):
        """The kernel `(D, H)` of one expert, its number an int32 tensor."""
        return self._kernel(*self._parts_of(expert))

    def of_columns(self, columns, expert=0):
        """Some columns of the kernel of one expert.

        Args:
            columns: int32 tensor `(N,)`.
            expert: int32 tensor.

        Returns:
            Tensor `(D, N)`.
        """
        parts = self._parts_of(expert)
        return self._kernel(
            *(
                None if x is None else tf.gather(x, columns, axis=1)
                for x in parts
            )
        )

    def whole(self):
        """The kernels `(E, D, H)` of all experts."""
        experts = range(self.shape[0])
        return tf.stack([self.of_expert(expert) for expert in experts])

    def _parts_of(self, expert):
        take = tf.gather if is_compiled_by_xla() else lambda x, e: x[e]
        parts = (self.codes, self.scale, self.zero)
        return [None if part is None else take(part, expert) for part in parts]

    def _kernel(self, codes, scale, zero):
        bits, depth = self.quantization.bits, self.shape[1]
        number, size = self.quantization.groups(depth)
        width = tf.shape(codes)[1] if codes.shape[1] is None else codes.shape[1]
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
        quantization: `WeightQuantization`.
        add: Function `(name, shape, dtype) -> variable` that makes them, or
            `SplitWeight`s; None for `layer.add_weight`.

    Example:

    >>> import keras
    >>> layer = keras.layers.Layer()
    >>> weight = PackedWeight(layer, "kernel", (2, 8, 3), WeightQuantization(4))
    >>> weight.assign(np.ones((2, 8, 3)))
    >>> float(np.asarray(weight).min()), tuple(weight.codes.shape)
    (1.0, (2, 4, 3))
    """

    def __init__(self, layer, name, shape, quantization, add=None):
        self.name = name
        self.shape = tuple(shape)
        self.quantization = quantization
        self.zero = None
        add = add or functools.partial(_add_whole, layer)
        for kind, (size, dtype) in quantization.shapes(*self.shape).items():
            setattr(self, kind, add(f"{name}_{kind}", size, dtype))

    @property
    def parts(self):
        """dict of the variables: "codes", "scale" and perhaps "zero"."""
        parts = {"codes": self.codes, "scale": self.scale, "zero": self.zero}
        return {kind: v for kind, v in parts.items() if v is not None}

    @property
    def variables(self):
        return tuple(self.parts.values())

    @property
    def named_parts(self):
        """dict of its parts by their names among the weights of a layer."""
        return {f"{self.name}_{kind}": v for kind, v in self.parts.items()}

    def tensors(self, dtype, parts=None):
        """The `PackedKernels` of its values.

        Args:
            dtype: Dtype of the kernels that come out.
            parts: dict of tensors by the names of `named_parts`, of some of
                the experts; None for its own values, of all.
        """
        if parts is None:
            parts = {n: whole_tensor(v) for n, v in self.named_parts.items()}
        codes, scale, zero = (
            parts.get(f"{self.name}_{kind}")
            for kind in ("codes", "scale", "zero")
        )
        return PackedKernels(
            codes,
            scale,
            zero,
            self.quantization,
            (codes.shape[0], *self.shape[1:]),
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


def _add_whole(layer, name, shape, dtype):
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer="zeros",
        trainable=False,
        autocast=False,
    )


class PackedMatrix:
    """A packed matrix in variables of its layer, in the place of a variable.

    TensorFlow takes it wherever it takes a tensor, and unpacks it there.

    Args:
        layer: Keras layer to whose weights the variables are added.
        name: str.
        shape: tuple `(D, H)` or, with `axis=1`, `(H, D)`.
        quantization: `WeightQuantization`.
        axis: int. Along which the numbers of a group lie, which share a scale:
            0 of a kernel, whose columns are rounded apart; 1 of a table, whose
            rows are.

    Example:

    >>> import keras
    >>> layer = keras.layers.Layer()
    >>> table = PackedMatrix(layer, "table", (3, 8), WeightQuantization(4), 1)
    >>> table.assign(np.arange(3)[:, None] * np.ones((3, 8)))
    >>> table.rows([2, 0]).numpy()[:, 0].tolist()
    [2.0, 0.0]
    >>> float(tf.reduce_sum(table))
    24.0
    """

    def __init__(self, layer, name, shape, quantization, axis=0):
        self.name = name
        self.shape = tuple(shape)
        self.axis = axis
        depth, width = shape if axis == 0 else reversed(shape)
        self._kernels = PackedWeight(
            layer, name, (1, depth, width), quantization
        )

    @property
    def parts(self):
        """dict of the variables: "codes", "scale" and perhaps "zero"."""
        return self._kernels.parts

    @property
    def variables(self):
        return self._kernels.variables

    @property
    def dtype(self):
        """The dtype of the numbers that come out."""
        return "float32"

    def assign(self, value):
        """Round a matrix to the nearest numbers, and keep those."""
        matrix = np.asarray(value)
        if matrix.shape != self.shape:
            raise ValueError(
                f"{self.name} takes a matrix of the shape {self.shape}. "
                f"Received: {matrix.shape}"
            )
        self._kernels.assign((matrix.T if self.axis else matrix)[None])

    def rows(self, ids):
        """Unpack some rows of a table, and no others.

        Args:
            ids: int tensor of any shape, numbers of rows.

        Returns:
            float32 tensor `(*ids.shape, D)`.

        Raises:
            ValueError: If the rows of the matrix are not rounded apart.
        """
        if self.axis != 1:
            raise ValueError(
                f"{self.name} has columns that are rounded apart, and no rows "
                "to look up: make it with `axis=1`."
            )
        ids = tf.convert_to_tensor(ids)
        columns = self._kernels.tensors("float32").of_columns(
            tf.reshape(ids, [-1])
        )
        shape = tf.concat([tf.shape(ids), [self.shape[1]]], axis=0)
        vectors = tf.reshape(tf.transpose(columns), shape)
        vectors.set_shape([*ids.shape, self.shape[1]])
        return vectors

    def __tf_tensor__(self, dtype=None, name=None):
        # TensorFlow calls it, wherever it converts to a tensor.
        kernel = self._kernels.tensors(dtype or "float32").of_expert(0)
        return tf.transpose(kernel) if self.axis else kernel

    def numpy(self):
        return tf.convert_to_tensor(self).numpy()

    def __array__(self, dtype=None, copy=None):
        del copy  # it always is one
        return np.asarray(self.numpy(), dtype)
