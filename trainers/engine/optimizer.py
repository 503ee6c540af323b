"""The optimizers: Adam in one pass over memory, and a factored one."""

import keras
import tensorflow as tf

from moe_keras import FactoredAdam
from moe_keras.optimizers import fused_adam


@keras.saving.register_keras_serializable(package="trainers")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` whose update is one TensorFlow operation.

    Keras writes the update as some ten operations, each of which reads and
    writes the whole variable. A mixture of experts has many parameters and
    few operations for each, so that Adam can cost more than the model; the
    fused kernel reads and writes everything once. The numbers are Adam's.

    Example:

    >>> optimizer = FusedAdam(learning_rate=0.001)
    >>> variable = keras.Variable([1.0, 2.0])
    >>> optimizer.apply([tf.constant([0.5, -0.5])], [variable])
    >>> [round(float(value), 3) for value in variable.numpy()]
    [0.999, 2.001]
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad:
            raise ValueError("`amsgrad` is not supported. Received: True")
        index = self._get_variable_index(variable)
        moments = self._momentums[index], self._velocities[index]
        fused_adam(self, gradient, variable, moments, learning_rate)


# By the name of `LoopConfig.optimizer`.
OPTIMIZERS = {"adam": FusedAdam, "factored_adam": FactoredAdam}


def apply_on_replica(optimizer, gradients, variables):
    """`optimizer.apply` for gradients that are summed over replicas already.

    Each replica updates its own copies, and they stay equal, because the
    gradients are equal. `apply` would sum the gradients once more, and it
    cannot run in a branch of the graph, where replicas must not communicate.
    Under a layout each shard has its gradient on its own device; `apply` would
    sum all of them, over one replica, on the current device.

    Args:
        optimizer: One of `OPTIMIZERS`, whose updates are operations on the
            handles of variables: within replicas those of their copies.
        gradients: List of tensors, the same on all replicas.
        variables: List of Keras variables, those it was built with.
    """
    rate = optimizer._get_current_learning_rate()
    for gradient, variable in zip(gradients, variables, strict=True):
        optimizer.update_step(gradient, variable.value, rate)
    tf.raw_ops.AssignAddVariableOp(
        resource=optimizer.iterations.value.handle,
        value=tf.ones([], optimizer.iterations.dtype),
    )
