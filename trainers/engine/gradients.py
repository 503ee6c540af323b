"""Gradients that hold only some rows of a weight.

The gradient of `tf.gather`, as of an embedding, is a `tf.IndexedSlices`: the
values of the rows that were read, and their indices. Rows may come several
times. Everything here takes such a gradient and a tensor alike.
"""

import tensorflow as tf

from moe_keras.gradients.slices import ExpertSlices
from moe_keras.placement.shards import device_of


def with_values(gradient, function):
    """Applies a function to the values of a gradient.

    Args:
        gradient: Tensor or `tf.IndexedSlices`.
        function: Function of a tensor that returns one of the same shape, and
            leaves zeros as they are.

    Example:

    >>> slices = tf.IndexedSlices(tf.ones((1, 2)), [3], [5, 2])
    >>> with_values(slices, lambda values: 2 * values).values.numpy().tolist()
    [[2.0, 2.0]]
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return function(gradient)
    return type(gradient)(
        function(gradient.values), gradient.indices, gradient.dense_shape
    )


class GradientSum:
    """The sum of a weight's gradients over several batches.

    Where these are slices the sum is, too: rows that no batch has touched cost
    nothing. Under replicas each keeps a sum of its own.

    Args:
        variable: Keras variable.

    Example:

    >>> import keras
    >>> total = GradientSum(keras.Variable(tf.zeros((5, 1))))
    >>> for row in (3, 1, 3):
    ...     total.add(tf.IndexedSlices(tf.ones((1, 1)), [row], [5, 1]))
    >>> taken = total.take()
    >>> taken.indices.numpy().tolist(), taken.values.numpy().tolist()
    ([1, 3], [[1.0], [2.0]])
    """

    def __init__(self, variable):
        self._variable = variable
        self._has_slices = None  # as the first gradient has
        self._sum = self._own(tf.zeros(variable.shape, variable.dtype))
        self._is_touched = self._own(tf.zeros(variable.shape[:1], tf.bool))

    def _own(self, value):
        with device_of(self._variable):
            return tf.Variable(
                value,
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.NONE,
            )

    def add(self, gradient):
        """Adds a gradient, a tensor or `tf.IndexedSlices`."""
        is_slices = isinstance(gradient, tf.IndexedSlices)
        if self._has_slices is None:
            self._has_slices = is_slices
        with device_of(self._variable):
            if not self._has_slices:
                self._sum.assign_add(tf.convert_to_tensor(gradient))
                return
            if not is_slices:
                gradient = _all_rows(gradient)
            # By the handle: within replicas it is that of their copy.
            tf.raw_ops.ResourceScatterAdd(
                resource=self._sum.handle,
                indices=gradient.indices,
                updates=gradient.values,
            )
            tf.raw_ops.ResourceScatterUpdate(
                resource=self._is_touched.handle,
                indices=gradient.indices,
                updates=tf.ones_like(gradient.indices, tf.bool),
            )

    def take(self):
        """Returns the sum and starts again from zero."""
        with device_of(self._variable):
            if not self._has_slices:
                total = tf.identity(self._sum)
                with tf.control_dependencies([total]):
                    self._sum.assign(tf.zeros_like(self._sum))
                return total
            touched = tf.identity(self._is_touched)
            rows = tf.where(touched)[:, 0]
            values = tf.raw_ops.ResourceGather(
                resource=self._sum.handle, indices=rows, dtype=self._sum.dtype
            )
            with tf.control_dependencies([touched, values]):
                self._is_touched.assign(tf.zeros_like(touched))
                tf.raw_ops.ResourceScatterUpdate(
                    resource=self._sum.handle,
                    indices=rows,
                    updates=tf.zeros_like(values),
                )
            return ExpertSlices(values, rows, self._variable.shape)


def _all_rows(gradient):
    shape = tf.shape(gradient)
    return tf.IndexedSlices(gradient, tf.range(shape[0]), shape)
