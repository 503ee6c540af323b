"""The norm of the gradient that reaches the gates."""

import tensorflow as tf

from moe_keras.placement.replicas import sum_over_replicas


class GateGradients:
    """Sums the squared norm of each gate's gradient, on the device.

    It is the gradient of the whole loss with respect to the gate's trainable
    weights, before clipping. A gate that learns nothing, such as a softmax over
    a single chosen expert, has exactly zero.

    Args:
        layers: List of built layers with a `gate`.

    Example:

    >>> import moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8)
    >>> layer.build((None, 3))
    >>> norms = GateGradients([layer])
    >>> weights = layer.gate.trainable_variables  # two of 3 x 4
    >>> norms.add([tf.ones(weight.shape) for weight in weights], weights)
    >>> [f"{norm:.3f}" for norm in norms.close()]  # sqrt(24)
    ['4.899']
    """

    def __init__(self, layers):
        self._weights = [
            {id(weight) for weight in layer.gate.trainable_variables}
            for layer in layers
        ]
        # One sum for each layer, then the number of steps.
        self._totals = tf.Variable(
            tf.zeros(len(layers) + 1),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def add(self, gradients, variables, are_summed=False):
        """Add the gradients of one step, in pairs with Keras variables.

        Under a strategy call it in the replica context.

        Args:
            gradients: List of tensors, or None where there is no gradient.
            variables: List of the Keras variables that they belong to.
            are_summed: bool. Whether the gradients are sums over all
                replicas, and not those of each.
        """
        squares = [
            tf.add_n(
                [tf.zeros(())]
                + [
                    _squared_norm(gradient, are_summed)
                    for gradient, variable in zip(
                        gradients, variables, strict=True
                    )
                    if id(variable) in weights and gradient is not None
                ]
            )
            for weights in self._weights
        ]
        self._totals.assign_add(tf.stack([*squares, 1.0]))

    def close(self):
        """End a window and begin the next.

        Returns:
            List with the root mean square over the window's steps of each
            gate's gradient norm; None where no gradients were taken in, or
            the gate has no trainable weights.
        """
        *squares, steps = tf.identity(self._totals).numpy()
        self._totals.assign(tf.zeros_like(self._totals))
        if not steps:
            return [None] * len(squares)
        return [
            float((square / steps) ** 0.5) if weights else None
            for square, weights in zip(squares, self._weights, strict=True)
        ]


def _squared_norm(gradient, is_summed):
    gradient = tf.convert_to_tensor(gradient)
    if not is_summed:
        gradient = sum_over_replicas(gradient)
    return tf.reduce_sum(tf.square(tf.cast(gradient, "float32")))
