"""Experts of two layers on batches of one size: two batched products.

E: experts    C: rows of each    D: depth    H: hidden size
"""

import tensorflow as tf

from moe_keras.gradients.bias import add_bias


def feed_forward_batches(inputs_ECD, weights, activation):
    """Computes `activation(x W_in + b_in) W_out + b_out` for each expert.

    Args:
        inputs_ECD: Tensor `(E, C, D)`.
        weights: List of `kernel_in (E, D, H)`, `kernel_out (E, H, D')` and,
            with biases, `bias_in (E, H)` and `bias_out (E, D')`.
        activation: `Activation`.

    Returns:
        Tensor `(E, C, D')`.

    Example:

    >>> from moe_keras.experts.activation import plain_activation
    >>> same = plain_activation(lambda hidden: hidden)
    >>> weights = [tf.ones((1, 2, 3)), tf.ones((1, 3, 1))]
    >>> feed_forward_batches(tf.ones((1, 1, 2)), weights, same).numpy().item()
    6.0
    """
    kernel_in, kernel_out, *biases = weights
    hidden_ECH = tf.matmul(inputs_ECD, kernel_in)
    if biases:
        hidden_ECH = add_bias(hidden_ECH, biases[0][:, None, :])
    outputs_ECD = tf.matmul(activation.apply(hidden_ECH, 0), kernel_out)
    if biases:
        outputs_ECD = add_bias(outputs_ECD, biases[1][:, None, :])
    return outputs_ECD
