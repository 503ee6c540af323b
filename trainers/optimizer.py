"""The optimizers: Adam in one pass over memory, and a factored one."""

import keras
import tensorflow as tf

from moe_keras.optimizers import FactoredAdam, ReplicaUpdates
from moe_keras.parallel.replica_weight import mark_beside


@keras.saving.register_keras_serializable(package="trainers")
class FusedAdam(ReplicaUpdates, keras.optimizers.Adam):
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
