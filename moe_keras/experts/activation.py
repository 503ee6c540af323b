"""The activation between the two layers of stacked experts.

C: rows    H: hidden size
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

# Activations whose slope can be told from their output.
_BACKWARD_OF_OUTPUT = {
    keras.activations.relu: lambda output, gradient: tf.raw_ops.ReluGrad(
        gradients=gradient, features=output
    ),
    keras.activations.tanh: lambda output, gradient: tf.raw_ops.TanhGrad(
        y=output, dy=gradient
    ),
    keras.activations.sigmoid: lambda output, gradient: tf.raw_ops.SigmoidGrad(
        y=output, dy=gradient
    ),
}


class Activation(NamedTuple):
    """The activation of the hidden layer, forward and backward.

    Attributes:
        apply: Function `(tensor (C, H), expert index) -> (C, H)`, which
            answers the same whenever it is asked the same. It may change H
            to the width that `kernel_out` takes. Where an expert's rows come
            in blocks, each block has a number of its own instead of the index.
        backward: Function `(output, gradient of it) -> gradient of the
            input`, for activations such as ReLU that keep H and whose slope
            can be told from their output; None for others. With it the output
            alone is kept, and TensorFlow can fuse product, bias and
            activation.

    Example:

    >>> square = Activation(lambda hidden, expert: hidden**2)
    >>> square.apply(3.0, expert=0)
    9.0
    """

    apply: Any
    backward: Any = None

    def to_keep(self, before, after):
        """Choose what `replay` needs: the hidden layer before or after."""
        return after if self.backward else before

    def replay(self, kept, expert):
        """The hidden layer, and the function that takes its gradient back."""
        if self.backward:
            return kept, lambda gradient: self.backward(kept, gradient)
        with tf.GradientTape() as tape:
            tape.watch(kept)
            hidden = self.apply(kept, expert)
        return hidden, lambda gradient: tape.gradient(hidden, kept, gradient)


def plain_activation(function):
    """The `Activation` of a function of one tensor.

    Args:
        function: Function `(tensor) -> tensor`.

    Returns:
        `Activation`.

    Example:

    >>> relu = plain_activation(keras.activations.relu)
    >>> float(relu.apply(tf.constant(-3.0), expert=0))
    0.0
    """
    return Activation(
        lambda hidden, expert: function(hidden),
        _BACKWARD_OF_OUTPUT.get(function),
    )


def activation_without_weights(activation, size):
    """Find the activation function of stacked experts, and try it.

    Args:
        activation: Name, function, or layer without variables.
        size: int. Hidden size H.

    Returns:
        Function `(tensor (..., H)) -> (..., H)`.

    Raises:
        ValueError: If it has variables: stacked experts have one activation,
            which knows no expert, and train no weights but their own. Or if
            it changes the shape.

    Example:

    >>> activation_without_weights("relu", 4) is keras.activations.relu
    True
    """
    function = keras.activations.get(activation)
    with tf.GradientTape() as tape:
        rows = function(tf.zeros((1, size)))
    if tape.watched_variables() or getattr(function, "variables", ()):
        raise ValueError(
            "`activation` must have no variables, be they weights or the seed "
            "of random numbers. For experts with such an activation make each "
            "of Keras layers, `SparseMoE(expert=lambda: keras.Sequential([..."
            f"]))`. Received: activation={activation!r}"
        )
    if tuple(rows.shape) != (1, size):
        raise ValueError(
            "`activation` must keep the shape of the hidden layer. Received: "
            f"activation={activation!r}, which makes {tuple(rows.shape)} of "
            f"{(1, size)}"
        )
    return function
