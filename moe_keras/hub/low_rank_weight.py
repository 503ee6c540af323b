"""Kernels with low-rank pairs in the place of a bank's variable.

E: experts    D: inputs of a kernel    H: its outputs    r: rank
"""

import keras
import numpy as np
import tensorflow as tf

from moe_keras.experts.initial_values import each_alone


class LowRankWeight:
    """Frozen kernels of all experts and a low-rank pair for each.

    Args:
        layer: Keras layer that holds the kernels, and then the pairs.
        kernel: Its variable `(E, D, H)`, which is frozen.
        pairs: `LowRankPairs`. The pairs are float32, as those of Keras' Dense.

    Example:

    >>> from moe_keras.experts.low_rank import LowRankPairs
    >>> layer = keras.layers.Layer()
    >>> kernel = layer.add_weight(shape=(2, 8, 3), name="kernel")
    >>> weight = LowRankWeight(layer, kernel, LowRankPairs(rank=4))
    >>> [(w.name, tuple(w.shape)) for w in layer.trainable_weights]
    [('kernel_lora_a', (2, 8, 4)), ('kernel_lora_b', (2, 4, 3))]
    >>> bool(np.array_equal(weight, kernel))  # B begins with zeros
    True
    """

    def __init__(self, layer, kernel, pairs):
        self.kernel = kernel
        self._pairs = pairs
        dims = dict(zip(("experts", "in", "out"), kernel.shape, strict=True))
        self.a, self.b = (
            layer.add_weight(
                name=name,
                shape=(kernel.shape[0], *sizes.values()),
                initializer=_of_all(each_alone(initializer)),
                dtype="float32",
                autocast=False,
            )
            for name, initializer, _, sizes in pairs.weights_for(
                kernel.name, dims, side_by_side=1
            )
        )
        kernel.trainable = False

    @property
    def path(self):
        return self.kernel.path

    @property
    def shape(self):
        return self.kernel.shape

    def tensors(self, dtype):
        """`LowRankKernels` of its values, for products in a dtype.

        Where somebody has made the kernels trainable again, the tensor
        `(E, D, H)` of kernels and pairs added up, which has a gradient.
        """
        kernel, a, b = (
            tf.cast(variable.value, dtype)
            for variable in (self.kernel, self.a, self.b)
        )
        if self.kernel.trainable:
            return self._pairs.added(kernel, a, b)
        return self._pairs.beside(kernel, a, b)

    def assign(self, value):
        """Take other kernels, to which the pairs add nothing as yet."""
        self.kernel.assign(value)
        self.b.assign(tf.zeros(self.b.shape))

    def numpy(self):
        """The kernels and their pairs, added up in float32."""
        own = zip(self.kernel.value, self.a.value, self.b.value, strict=True)
        # One expert at a time: the kernels may be half as wide as float32.
        kernels = [
            tf.cast(
                self._pairs.added(tf.cast(kernel, a.dtype), a, b), kernel.dtype
            )
            for kernel, a, b in own
        ]
        return keras.ops.convert_to_numpy(tf.stack(kernels))

    def __array__(self, dtype=None, copy=None):
        del copy  # it always is one
        return np.asarray(self.numpy(), dtype)


def _of_all(draw):
    def initialize(shape, dtype=None):
        experts = range(shape[0])
        return tf.stack([draw(each, shape[1:], dtype) for each in experts])

    return initialize
