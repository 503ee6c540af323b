"""One weight of experts in several variables, used as one."""

import numpy as np
import tensorflow as tf

from moe_keras.placement.shards import (
    join_tensors,
    put_together,
    shard_of,
    share_out,
)


class SplitWeight:
    """A weight of experts in shards, with most of what a Keras variable has.

    `ShardedWeight` has its shards on the devices of a mesh, `ReplicaWeight` on
    the replicas of a strategy. Neither is a tensor: an expert that computed
    with the whole weight where it should with a shard would be another expert.
    Layers of experts get the tensors of their shards as `LocalExperts`.

    Args:
        name: str.
        variables: List of the Keras variables that hold the shards.

    Attributes:
        variables: The same list.
        path: str. Keras' path of the whole weight.
        shape: tuple. Shape of the whole weight.
        dtype: str.
    """

    def __init__(self, name, variables):
        self.name = name
        self.variables = tuple(variables)
        self.dtype = variables[0].dtype

    @property
    def shards(self):
        """Variables of this process, each marked with its `Shard`."""
        return self.variables

    @property
    def path(self):
        return shard_of(self.shards[0]).path

    @property
    def shape(self):
        return shard_of(self.shards[0]).shape

    def check_is_whole(self, verb):
        """Raise a ValueError if other processes hold some of the shards."""

    def numpy(self):
        """Gather the whole weight in the memory of this process."""
        self.check_is_whole("read")
        return put_together(self.shards)

    def whole(self):
        """Tensor of the whole weight, for experts called by themselves."""
        self.check_is_whole("computed with")
        return join_tensors(self.shards)

    def assign(self, value):
        """Set the shards of this process from a value of the whole weight."""
        share_out(value, self.shards)

    def __array__(self, dtype=None, copy=None):
        del copy  # it always is one
        return np.asarray(self.numpy(), dtype)

    def __tf_tensor__(self, dtype=None, name=None):
        raise TypeError(
            f"{self.path} is split into shards and cannot be used as one "
            f"tensor. In `call` of a layer of experts take "
            f"`self.read({self.name!r}, local)`; elsewhere `.whole()` is a "
            "tensor and `.numpy()` an array of all of it."
        )


def whole_tensor(weight):
    """Tensor of all of a weight, whoever has made it.

    Args:
        weight: What `Placement.add_weight` returned.

    Example:

    >>> whole_tensor(tf.Variable([1.0, 2.0])).numpy().tolist()
    [1.0, 2.0]
    """
    if isinstance(weight, SplitWeight):
        return weight.whole()
    return tf.convert_to_tensor(weight)
