"""Gradients of the experts that had tokens, and of no others.

E: experts
"""

import tensorflow as tf


class ExpertSlices(tf.IndexedSlices):
    """A gradient of stacked weights `(E, ...)`: slices of some experts.

    Like any `tf.IndexedSlices`, but no index comes twice, so that the norm of
    `values` is that of the gradient. TensorFlow and Keras take it wherever
    they take slices; `tf.convert_to_tensor` gives the whole gradient, with
    zeros for the other experts.

    Example:

    >>> slices = ExpertSlices(tf.ones((1, 2)), tf.constant([1]), [3, 2])
    >>> tf.convert_to_tensor(slices).numpy().tolist()
    [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """


def without_repeats(gradient):
    """Sum repeated rows, so that every row comes once.

    The norm of slices is that of the gradient only if no row is repeated, and
    optimizers differ in what they make of repeated ones.

    Args:
        gradient: Tensor or `tf.IndexedSlices`.

    Returns:
        Tensor or `ExpertSlices`.

    Example:

    >>> slices = tf.IndexedSlices(tf.ones((3, 1)), [4, 1, 4], [5, 1])
    >>> once = without_repeats(slices)
    >>> once.indices.numpy().tolist(), once.values.numpy().tolist()
    ([4, 1], [[2.0], [1.0]])
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    if isinstance(gradient, ExpertSlices):
        return gradient
    indices, row_of_slice = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(
        gradient.values, row_of_slice, tf.size(indices)
    )
    return ExpertSlices(values, indices, gradient.dense_shape)


class SparseGradients:
    """Mixin of layers that can give the gradients of weights as slices.

    Attributes:
        sparse_gradients: bool. Whether they are `ExpertSlices` of what had
            tokens. The numbers are the same. It may be set at any time; a
            training step that is traced already goes on as before.

    Example:

    >>> import moe_keras
    >>> experts = moe_keras.FeedForwardExperts(4, hidden_dim=3)
    >>> experts.sparse_gradients = True
    >>> with tf.GradientTape() as tape:
    ...     y = experts(tf.ones((5, 2)), counts=[0, 3, 0, 2], training=True)
    >>> gradient = tape.gradient(y, experts.kernel_in)
    >>> gradient.indices.numpy().tolist(), tuple(gradient.values.shape)
    ([1, 3], (2, 2, 3))
    """

    _sparse_gradients = False

    @property
    def sparse_gradients(self):
        return self._sparse_gradients

    @sparse_gradients.setter
    def sparse_gradients(self, value):
        self._sparse_gradients = bool(value)
