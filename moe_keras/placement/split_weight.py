"""One weight of experts in several variables, used as one."""

import contextlib

import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state  # no public name

from moe_keras.placement.shards import (
    assign_shards,
    concat_shards,
    gather_shards,
    shard_of,
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
        return gather_shards(self.shards)

    def whole(self):
        """Tensor of the whole weight, for experts called by themselves."""
        self.check_is_whole("computed with")
        return concat_shards(self.shards)

    def assign(self, value):
        """Set the shards of this process from a value of the whole weight."""
        assign_shards(value, self.shards)

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


@contextlib.contextmanager
def made_at_once():
    """Context manager: create variables at once, whoever is tracing.

    Keras builds most models within a graph, and within a scope in which it
    only notes the variables, to create them later and on another device. The
    shards of a weight have to exist before they can be marked.

    Example:

    >>> from keras import Variable
    >>> from keras.src.backend.common.stateless_scope import StatelessScope
    >>> with StatelessScope(), made_at_once():
    ...     Variable([3.0]).numpy().tolist()
    [3.0]
    """
    noting = global_state.get_global_attribute("stateless_scope")
    global_state.set_global_attribute("stateless_scope", None)
    try:
        with tf.init_scope():
            yield
    finally:
        global_state.set_global_attribute("stateless_scope", noting)
