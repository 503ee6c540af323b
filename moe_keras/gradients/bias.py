"""Biases whose gradients are summed in full precision.

A bias is added to every row of a batch, so its gradient is a sum over all
rows. In half precision such a sum goes wrong: TensorFlow's stands still at
256 in bfloat16 or at 2,048 in float16, as soon as what is added is below half
a unit in the last place.
"""

import tensorflow as tf

from moe_keras.gradients.custom_gradient import custom_gradient


def add_bias(inputs, bias):
    """Add a bias to inputs of any precision.

    Args:
        inputs: Tensor.
        bias: Tensor of another dtype or of the same, whose shape broadcasts
            to that of `inputs`. Sizes of 1 must be known beforehand.

    Returns:
        Tensor of shape and dtype of `inputs`. The gradient of `bias` is summed
        in float32 at least and has the dtype of `bias`.

    Example:

    >>> bias = tf.constant([0.5])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(bias)
    ...     y = add_bias(tf.zeros((5000, 1), "float16"), bias)
    >>> tape.gradient(y, bias).numpy()
    array([5000.], dtype=float32)
    """
    if inputs.dtype == bias.dtype == wide(bias.dtype):
        return inputs + bias

    @custom_gradient
    def run(inputs, bias):
        def backward(d_outputs):
            more = d_outputs.shape.rank - bias.shape.rank
            ones = [more + i for i, size in enumerate(bias.shape) if size == 1]
            total = tf.reduce_sum(
                tf.cast(d_outputs, wide(bias.dtype)),
                [*range(more), *ones],
                keepdims=True,
            )
            d_bias = tf.reshape(total, tf.shape(bias))
            return d_outputs, tf.cast(d_bias, bias.dtype)

        return inputs + tf.cast(bias, inputs.dtype), backward

    return run(inputs, bias)


def bias_gradient(d_rows, dtype):
    """Sum the gradients of rows.

    Args:
        d_rows: Tensor `(rows, D)`.
        dtype: Dtype of the sum; it is summed up in float32 at least.

    Returns:
        Tensor `(D,)`.

    Example:

    >>> bias_gradient(tf.ones((5000, 1), "bfloat16"), "float32").numpy()
    array([5000.], dtype=float32)
    """
    total = tf.raw_ops.BiasAddGrad(
        out_backprop=tf.cast(d_rows, wide(d_rows.dtype))
    )
    return tf.cast(total, dtype)


def wide(dtype):
    """The dtype to sum up values of a dtype in: float32 or wider.

    Example:

    >>> wide("bfloat16").name, wide("float64").name
    ('float32', 'float64')
    """
    return tf.float64 if tf.as_dtype(dtype) == tf.float64 else tf.float32
