"""Keras' optimizers where each weight is."""

import keras

from moe_keras.placement.replicas import num_replicas
from moe_keras.placement.shards import device_of


def update_in_place(optimizer: keras.Optimizer) -> keras.Optimizer:
    """Make a Keras optimizer update each shard on its own device.

    By default it computes on the first device, and sends all shards of a
    `MeshLayout`, their gradients and their moments there and back in every
    step of `fit`. Results are the same. Clipping still takes the gradients to
    the first device, and `clipnorm` takes the norm of each shard.

    Args:
        optimizer: A Keras optimizer.

    Returns:
        The same optimizer.

    Example:

    >>> import keras
    >>> optimizer = update_in_place(keras.optimizers.SGD(0.5))
    >>> weight = keras.Variable([3.0])
    >>> optimizer.apply([[2.0]], [weight])
    >>> weight.numpy().tolist()
    [2.0]
    """
    sum_up, update = optimizer._all_reduce_sum_gradients, optimizer.update_step

    def sum_where_there_are_several(pairs):
        return sum_up(pairs) if num_replicas() > 1 else pairs

    def update_there(gradient, variable, learning_rate):
        with device_of(variable):
            update(gradient, variable, learning_rate)

    optimizer._all_reduce_sum_gradients = sum_where_there_are_several
    optimizer.update_step = update_there
    return optimizer
