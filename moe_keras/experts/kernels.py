"""What a kernel of experts multiplies by, and which gradients it has.

A kernel is a tensor with a gradient of its own, packed without one, or frozen
beside a low-rank pair, which has them. All three multiply the rows of one
expert at a time; none is written out for all experts.

E: experts    B: rows of one    D: inputs of a kernel    H: its outputs
r: rank of a pair
"""

import dataclasses
from typing import Any

import tensorflow as tf

from moe_keras.packed.weight import PackedKernels
from moe_keras.xla import is_compiled_by_xla


@dataclasses.dataclass(frozen=True)
class LowRankKernels:
    """Frozen kernels and their pairs as tensors, in the place of a tensor.

    Attributes:
        kernel: Tensor `(E, D, H)`, which gets no gradient.
        a: Tensor `(E, D, r)`.
        b: Tensor `(E, r, H)`.
        scale: float. What the product of a pair is multiplied by.

    Example:

    >>> a, b = tf.ones((2, 3, 1)), tf.ones((2, 1, 4))
    >>> kernels = LowRankKernels(tf.ones((2, 3, 4)), a, b, scale=2.0)
    >>> kernel, weights = kernel_of(kernels)
    >>> product = kernel.product(tf.ones((1, 3)), 0, weights)
    >>> product.numpy().tolist()  # 3 + 2 * 3
    [[9.0, 9.0, 9.0, 9.0]]
    """

    kernel: Any
    a: Any
    b: Any
    scale: float

    @property
    def shape(self):
        return self.kernel.shape

    @property
    def dtype(self):
        return self.kernel.dtype


def kernel_of(weight):
    """Take what products need from a kernel of experts.

    Args:
        weight: Tensor `(E, D, H)`, `PackedKernels` or `LowRankKernels`.

    Returns:
        A `WholeKernel`, `PackedKernel` or `LowRankKernel`, and the list of the
        tensors that have gradients, which its methods take.
    """
    if isinstance(weight, PackedKernels):
        return PackedKernel(weight), []
    if isinstance(weight, LowRankKernels):
        # A copy of it on the current device, too: see `feed_forward_segments`.
        kernel = tf.stop_gradient(weight.kernel)
        return LowRankKernel(kernel, weight.scale), [weight.a, weight.b]
    return WholeKernel(weight.shape[-1]), [weight]


def is_plain(weights):
    """Whether all of some weights are tensors with a gradient."""
    return not any(
        isinstance(weight, PackedKernels | LowRankKernels) for weight in weights
    )


def weight_of(expert, weights):
    """One expert's slice of a stacked weight.

    XLA tries to find the place of a slice while it compiles, and dies of some
    that it cannot find; a gather it leaves alone. Elsewhere the slice is the
    weight itself, where a gather would copy it.

    Args:
        expert: Scalar int32 tensor.
        weights: Tensor `(E, ...)`, or `PackedKernels`.

    Returns:
        Tensor `(...)`.

    Example:

    >>> weight_of(1, tf.constant([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
    [3.0, 4.0]
    """
    if isinstance(weights, PackedKernels):
        return weights.of_expert(expert)
    if weights.shape[0] == 1:  # the gradient of a slice would be a copy
        return tf.squeeze(weights, 0)
    if is_compiled_by_xla():
        return tf.gather(weights, expert)
    return weights[expert]


@dataclasses.dataclass(frozen=True)
class WholeKernel:
    """A kernel that is a tensor with a gradient.

    Attributes:
        width: int. H.
    """

    width: int
    num_weights = 1

    def product(self, rows_BD, expert, weights):
        return tf.matmul(rows_BD, weight_of(expert, *weights))

    def gradients(self, rows_BD, d_product_BH, expert, weights):
        """Gradients of the rows and of the expert's slice of each weight."""
        kernel_DH = weight_of(expert, *weights)
        return (
            tf.matmul(d_product_BH, kernel_DH, transpose_b=True),
            [tf.matmul(rows_BD, d_product_BH, transpose_a=True)],
        )


@dataclasses.dataclass(frozen=True)
class PackedKernel:
    """A kernel in few bits, unpacked for each product.

    Attributes:
        kernels: `PackedKernels`.
    """

    kernels: Any
    num_weights = 0

    @property
    def width(self):
        return self.kernels.shape[-1]

    def product(self, rows_BD, expert, weights):
        return tf.matmul(rows_BD, weight_of(expert, self.kernels))

    def gradients(self, rows_BD, d_product_BH, expert, weights):
        kernel_DH = weight_of(expert, self.kernels)
        return tf.matmul(d_product_BH, kernel_DH, transpose_b=True), []


@dataclasses.dataclass(frozen=True)
class LowRankKernel:
    """`x W + scale (x A) B`: W is frozen, A and B have gradients.

    Attributes:
        kernel: Tensor `(E, D, H)`.
        scale: float.
    """

    kernel: Any
    scale: float
    num_weights = 2

    @property
    def width(self):
        return self.kernel.shape[-1]

    def product(self, rows_BD, expert, weights):
        a_Dr, b_rH = (weight_of(expert, weight) for weight in weights)
        scale = tf.cast(self.scale, rows_BD.dtype)
        narrow_Br = scale * tf.matmul(rows_BD, a_Dr)
        whole_BH = tf.matmul(rows_BD, weight_of(expert, self.kernel))
        return whole_BH + tf.matmul(narrow_Br, b_rH)

    def gradients(self, rows_BD, d_product_BH, expert, weights):
        a_Dr, b_rH = (weight_of(expert, weight) for weight in weights)
        scale = tf.cast(self.scale, rows_BD.dtype)
        d_narrow_Br = scale * tf.matmul(d_product_BH, b_rH, transpose_b=True)
        d_rows_BD = tf.matmul(
            d_product_BH, weight_of(expert, self.kernel), transpose_b=True
        ) + tf.matmul(d_narrow_Br, a_Dr, transpose_b=True)
        narrow_Br = scale * tf.matmul(rows_BD, a_Dr)
        return d_rows_BD, [
            tf.matmul(rows_BD, d_narrow_Br, transpose_a=True),
            tf.matmul(narrow_Br, d_product_BH, transpose_a=True),
        ]
