"""The optimizers: Adam in one pass over memory, and a factored one."""

import functools

import keras
import tensorflow as tf

from moe_keras import FactoredAdam
from moe_keras.optimizers import fused_adam, is_factored, lazy_adam
from moe_keras.placement.shards import device_of
from trainers.engine.gradients import with_values


@keras.saving.register_keras_serializable(package="trainers")
class FusedAdam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` whose update is one TensorFlow operation.

    Keras writes the update as some ten operations, each of which reads and
    writes the whole variable. A mixture of experts has many parameters and
    few operations for each, so that Adam can cost more than the model; the
    fused kernel reads and writes everything once. The numbers are Adam's.

    With `lazy=True` a gradient of slices, as of an embedding, moves these rows
    alone, weights and moments. That is another optimizer: Adam's moments of a
    row decay also while the row has no gradient, and go on moving it.

    Args:
        lazy: bool.
        **kwargs: As of `keras.optimizers.Adam`.

    Example:

    >>> optimizer = FusedAdam(learning_rate=0.001)
    >>> variable = keras.Variable([1.0, 2.0])
    >>> optimizer.apply([tf.constant([0.5, -0.5])], [variable])
    >>> [round(float(value), 3) for value in variable.numpy()]
    [0.999, 2.001]
    """

    def __init__(self, *args, lazy=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def update_step(self, gradient, variable, learning_rate):
        if self.amsgrad:
            raise ValueError("`amsgrad` is not supported. Received: True")
        index = self._get_variable_index(variable)
        moments = self._momentums[index], self._velocities[index]
        is_slices = isinstance(gradient, tf.IndexedSlices)
        update = lazy_adam if self.lazy and is_slices else fused_adam
        update(self, gradient, variable, moments, learning_rate)

    def get_config(self):
        return {**super().get_config(), "lazy": self.lazy}


# By the name of `LoopConfig.optimizer`. What is lazy takes the gradients of
# busy experts and of the rows of tables that were read, and visits no others.
OPTIMIZERS = {
    "adam": FusedAdam,
    "lazy_adam": functools.partial(FusedAdam, lazy=True),
    "factored_adam": FactoredAdam,
    "lazy_factored_adam": functools.partial(FactoredAdam, lazy=True),
}


def moves_slices_alone(optimizer, gradient, variable):
    """Whether an update moves the slices of a gradient and no other weights.

    Args:
        optimizer: Keras optimizer.
        gradient: Tensor or `tf.IndexedSlices`.
        variable: Variable with this gradient.

    Example:

    >>> slices = tf.IndexedSlices(tf.ones((1, 2)), [1], [3, 2])
    >>> table, lazy = tf.Variable(tf.zeros((3, 2))), {"lazy": True}
    >>> moves_slices_alone(FusedAdam(**lazy), slices, table)
    True
    >>> moves_slices_alone(FactoredAdam(**lazy), slices, table)  # not factored
    False
    """
    is_lazy = getattr(optimizer, "lazy", False) and not optimizer.weight_decay
    if not is_lazy or not isinstance(gradient, tf.IndexedSlices):
        return False
    return not isinstance(optimizer, FactoredAdam) or is_factored(
        variable.shape
    )


def apply_scaled(optimizer, gradients, variables, factor):
    """Applies gradients times a factor, which is mostly that of clipping.

    Args:
        optimizer: Keras optimizer. `FactoredAdam` multiplies as it goes, and
            saves a pass over memory.
        gradients: List of tensors or `tf.IndexedSlices`.
        variables: List of Keras variables.
        factor: Scalar tensor.
    """
    if isinstance(optimizer, FactoredAdam):
        optimizer.apply(gradients, variables, factor)
    else:
        optimizer.apply(_scaled(gradients, variables, factor), variables)


def _scaled(gradients, variables, factor):
    """The gradients times the factor, each where its variable is."""
    scaled = []
    for gradient, variable in zip(gradients, variables, strict=True):
        with device_of(variable):
            scaled.append(
                with_values(
                    gradient,
                    lambda values: values * tf.cast(factor, values.dtype),
                )
            )
    return scaled


def apply_on_replica(optimizer, gradients, variables, factor=1.0):
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
        factor: Scalar tensor. The gradients are multiplied by it.
    """
    rate = optimizer._get_current_learning_rate()
    gradients = _scaled(gradients, variables, factor)
    for gradient, variable in zip(gradients, variables, strict=True):
        optimizer.update_step(gradient, variable.value, rate)
    tf.raw_ops.AssignAddVariableOp(
        resource=optimizer.iterations.value.handle,
        value=tf.ones([], optimizer.iterations.dtype),
    )
