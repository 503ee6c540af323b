"""The optimizers: Adam in one pass over memory, and a factored one."""

import keras
import tensorflow as tf

from moe_keras import FactoredAdam


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
        index = self._get_variable_index(variable)
        self._update(index, gradient, variable, learning_rate)

    def _update(self, index, gradient, variable, learning_rate):
        if self.amsgrad:
            raise ValueError("`amsgrad` is not supported. Received: True")
        dtype = tf.as_dtype(variable.dtype)
        step = tf.cast(self.iterations + 1, dtype)
        beta_1 = tf.constant(self.beta_1, dtype)
        beta_2 = tf.constant(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,  # a tf.Variable: within replicas their copy
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )


# By the name of `LoopConfig.optimizer`.
OPTIMIZERS = {"adam": FusedAdam, "factored_adam": FactoredAdam}


def apply_on_replica(optimizer, gradients, variables):
    """`optimizer.apply` for gradients that are summed over replicas already.

    Each replica updates copies of its own, and they stay equal, because the
    gradients are. `apply` would sum once more, and cannot stand in a branch
    of the graph: there replicas must not talk to each other. Under a layout,
    where shards have their gradients beside them, it would take the sum of
    all of them, over one replica, on the device of the moment.

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
