"""Weights in 8 bits: a quarter of the bytes, products in float32.

A matrix W is kept as integers Q from -127 to 127 and a scale s for each of its
channels, W = s Q: rows or columns, whichever are closer to W. Stacked experts
have scales of their own. A function makes float32 of them once, before its
first step; what it computes with them is as before.

E: experts    M, N: rows and columns of a matrix
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from moe_keras.monitoring.layers import observed_layers
from moe_keras.packed.layer import FewBits

SCALES = "scales"  # name of the variables that hold them
_LARGEST = 127
_SMALL = 1024  # entries; below it scales would take as much room as is saved


def quantize(values):
    """Rounds a matrix, or a stack of them, to 8 bits.

    Args:
        values: float array `(M, N)`, or `(..., M, N)`.

    Returns:
        int8 array of that shape, and float32 scales, of size 1 along the axis
        that shares them.

    Example: the columns have sizes of their own, and keep them.

    >>> integers, scales = quantize(np.array([[1.0, 200.0], [-2.0, 254.0]]))
    >>> integers.tolist(), scales.astype(float).round(4).tolist()
    ([[64, 100], [-127, 127]], [[0.0157, 2.0]])
    """
    values = np.asarray(values, "float32")
    found = [_quantize(values, axis) for axis in (-2, -1)]
    errors = [
        np.square(integers * scales - values).sum()
        for integers, scales in found
    ]
    return found[int(np.argmin(errors))]


def _quantize(values, axis):
    largest = np.abs(values).max(axis=axis, keepdims=True)
    scales = np.where(largest > 0, largest / _LARGEST, 1.0).astype("float32")
    return np.rint(values / scales).astype("int8"), scales


class QuantizedWeights:
    """The matrices of models in 8 bits, in place of those in float32.

    Biases, other small weights, and all of the gates stay as they are: the
    choice of an expert must not depend on rounding.

    It is no `tf.Module`: of what it holds, a SavedModel is to have only what
    its functions read.

    Args:
        models: Sequence of built Keras models.

    Raises:
        ValueError: If kernels of a model have few bits already.
    """

    def __init__(self, models):
        _check_have_float_kernels(models)
        gates = {
            id(weight)
            for model in models
            for layer in observed_layers(model)
            for weight in layer.gate.weights
        }
        self._stored = {}  # integers and scales, by the id of the variable
        for model in models:
            for weight in model.weights:
                if id(weight) not in gates and _is_worth_it(weight):
                    integers, scales = quantize(weight.numpy())
                    self._stored[id(weight)] = (
                        tf.Variable(integers, trainable=False),
                        tf.Variable(scales, trainable=False, name=SCALES),
                    )

    @contextlib.contextmanager
    def scope(self):
        """Context manager: the graph that is being made computes with them."""
        with _InPlace(self._stored):
            yield


def _check_have_float_kernels(models):
    few = [
        layer.name
        for model in models
        for layer in model._flatten_layers()
        if isinstance(layer, FewBits) and layer.quantization is not None
    ]
    if few:
        raise ValueError(
            "A model whose kernels have few bits is exported as it is: leave "
            f"8 bits out. Received: a model with few bits in {', '.join(few)}"
        )


def _is_worth_it(weight):
    size = int(np.prod(weight.shape))
    is_float = str(weight.dtype).startswith(("float", "bfloat"))
    return is_float and len(weight.shape) >= 2 and size >= _SMALL


class _InPlace(keras.StatelessScope):
    """Gives variables the value of what is stored for them.

    It is made when a variable is first read, and in the graph in which the
    scope began: a loop within it reads the tensor, and makes no other.
    """

    def __init__(self, stored):
        super().__init__()
        self._stored = stored
        self._graph = tf.compat.v1.get_default_graph()

    def get_current_value(self, variable):
        if id(variable) in self._stored and id(variable) not in (
            self.state_mapping
        ):
            integers, scales = self._stored[id(variable)]
            with self._graph.as_default():
                value = tf.cast(integers, tf.float32) * scales
            self.state_mapping[id(variable)] = tf.cast(value, variable.dtype)
        return super().get_current_value(variable)
