"""Keras' optimizers where each weight is."""

from moe_keras.placement.replicas import num_replicas
from moe_keras.placement.shards import device_of


def update_in_place(optimizer):
    """Lets a Keras optimizer update each shard on the device that has it.

    By itself it computes on the first device, to which all shards of a
    `MeshLayout`, their gradients and their moments would travel in every step
    of `fit`, and back. Results are the same. Clipping still takes the gradients
    to the first device, and `clipnorm` is that of each shard.

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
