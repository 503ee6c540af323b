"""The optimizers: Adam in one pass over memory, and a factored one."""

import keras
import tensorflow as tf

from moe_keras import FactoredAdam
from moe_keras.parallel.replica_weight import mark_beside


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

    def build(self, variables):
        super().build(variables)
        for variable, first, second in zip(
            variables, self._momentums, self._velocities, strict=True
        ):
            strategy = self._distribution_strategy
            mark_beside(first, variable, "momentum", strategy)
            mark_beside(second, variable, "velocity", strategy)

    def apply_on_replica(self, gradients, variables):
        """`apply` for gradients that are summed over all replicas already.

        Each replica updates copies of its own, and they stay equal, because
        the gradients are. `apply` would sum once more, and cannot stand in a
        branch of the graph: there replicas must not talk to each other.

        Args:
            gradients: List of tensors, the same on all replicas.
            variables: List of Keras variables, those it was built with.
        """
        rate = self._get_current_learning_rate()
        for index, gradient in enumerate(gradients):
            self._update(index, gradient, variables[index].value, rate)
        tf.raw_ops.AssignAddVariableOp(
            resource=self.iterations.value.handle,
            value=tf.ones([], self.iterations.dtype),
        )

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
