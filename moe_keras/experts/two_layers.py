"""Experts of two layers: initial values, and the choice of how to run them.

E: experts    C: slots of an expert    D: depth    H: hidden size
S: slots of all experts, sorted by expert
"""

import keras
import tensorflow as tf

from moe_keras.bias import add_bias
from moe_keras.custom_gradient import recomputed
from moe_keras.experts.blocks import feed_forward_blocks
from moe_keras.experts.segments import feed_forward_segments
from moe_keras.xla import is_compiled_by_xla

# Both are odd, so that no two numbers have the same seed modulo 2^32.
_STRIDE = 2654435761
_SECOND_STRIDE = 2246822519


def each_alone(initializer):
    """Makes an initializer draw kernels one by one, each as if it were alone.

    The seed of a kernel follows from the seed of the initializer and the
    number of the kernel. So its values do not depend on who draws it or what
    was drawn before. Fans are those of one kernel. Each call copies the
    initializer and, unless the user chose a seed, takes another one, so that
    no two weights are equal.

    Args:
        initializer: Keras initializer of one kernel.

    Returns:
        Function `(number, shape, dtype) -> tensor` of one kernel.

    Example:

    >>> draw = each_alone(keras.initializers.GlorotUniform(seed=1))
    >>> kernels = [draw(number, shape=(4, 8)) for number in range(50)]
    >>> print(f"{keras.ops.max(kernels):.2f}")  # sqrt(6 / (4 + 8))
    0.71
    >>> bool(keras.ops.all(draw(7, shape=(4, 8)) == kernels[7]))
    True
    """
    seed = getattr(initializer, "seed", None)
    if isinstance(seed, keras.random.SeedGenerator):
        with tf.init_scope():
            first, second = (int(number) for number in seed.next())
        seed = (first + second * _SECOND_STRIDE) % 2**32
    elif isinstance(initializer, keras.initializers.Initializer):
        initializer = initializer.clone()
        seed = getattr(initializer, "seed", None)

    def draw(number, shape, dtype=None):
        alone = initializer
        if isinstance(seed, int):
            config = initializer.get_config()
            config["seed"] = (seed + number * _STRIDE) % 2**32
            alone = type(initializer).from_config(config)
        return alone(shape, dtype=dtype)

    return draw


def feed_forward(
    inputs, counts, weights, activation, recompute=False, training=False
):
    """Runs experts of two layers on batches or, with `counts`, on segments.

    Args:
        inputs: Tensor `(E, C, D)`, or `(S, D)` with `counts`.
        counts: int32 tensor `(E,)` or None.
        weights: List of `kernel_in`, `kernel_out` and, where there are any,
            their biases, as for `feed_forward_segments`.
        activation: `Activation`.
        recompute: bool. Compute the hidden layer again in the backward pass.
        training: bool.

    Returns:
        Tensor `(E, C, D')`, or `(S, D')`.

    Example:

    >>> from moe_keras.experts.activation import plain_activation
    >>> square = plain_activation(lambda hidden: hidden**2)
    >>> weights = [tf.ones((1, 2, 3)), tf.ones((1, 3, 1))]
    >>> y = feed_forward(tf.ones((1, 1, 2)), None, weights, square)
    >>> float(y[0, 0, 0])  # 3 hidden units of (1 + 1)^2
    12.0
    """
    if inputs.shape.rank == 2:
        # Keep nothing at inference: no gradient is expected, and a gradient
        # in a SavedModel cannot capture the list of what is kept.
        run = feed_forward_segments
        if is_compiled_by_xla():  # XLA needs static shapes
            run = feed_forward_blocks
        return run(
            inputs,
            counts,
            weights,
            activation,
            recompute=recompute or not training,
        )

    def run(inputs_ECD, *weights):
        return _feed_forward_batches(inputs_ECD, weights, activation)

    return (recomputed(run) if recompute else run)(inputs, *weights)


def _feed_forward_batches(inputs_ECD, weights, activation):
    kernel_in, kernel_out, *biases = weights
    hidden_ECH = tf.matmul(inputs_ECD, kernel_in)
    if biases:
        hidden_ECH = add_bias(hidden_ECH, biases[0][:, None, :])
    outputs_ECD = tf.matmul(activation.apply(hidden_ECH, 0), kernel_out)
    if biases:
        outputs_ECD = add_bias(outputs_ECD, biases[1][:, None, :])
    return outputs_ECD
