"""A weight of experts of which each replica has a shard.

It is a variable of `tf.distribute` with a copy on each replica, except that
each copy has other experts. Within replicas it works as any variable,
gradients and updates included. Outside of them TensorFlow takes the first copy
for the whole weight; a `ReplicaWeight` gathers all copies.

E: experts    R: replicas
"""

import tensorflow as tf

from moe_keras.placement.replicas import num_replicas
from moe_keras.placement.shards import Shard, mark, raw, shard_of
from moe_keras.placement.split_weight import SplitWeight


class ReplicaWeight(SplitWeight):
    """`SplitWeight` of which each replica of a strategy has a shard.

    Args:
        variable: Keras variable `(E / R, ...)`, made under the scope of a
            strategy with R replicas.
        strategy: The strategy.

    Attributes:
        variable: The Keras variable, to be read by replicas.

    Example:

    >>> import keras
    >>> strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    >>> with strategy.scope():
    ...     variable = keras.Variable([[1.0], [2.0]])
    >>> weight = ReplicaWeight(variable, strategy)
    >>> weight.assign([[3.0], [4.0]])
    >>> [shard.numpy().tolist() for shard in weight.shards]
    [[[3.0], [4.0]]]
    """

    def __init__(self, variable, strategy):
        super().__init__(variable.name, [variable])
        self.variable = variable
        mark_copies(variable, variable.path, strategy)

    @property
    def shards(self):
        """The variables of the replicas of this process."""
        return copies_of(self.variable)

    def check_is_whole(self, verb):
        if num_replicas() > 1:
            raise ValueError(
                f"{self.path} cannot be {verb} within a replica, which has "
                f"{self.variable.shape[0]} of its {self.shape[0]} experts. In "
                f"`call` of the experts take `self.read({self.name!r}, local)` "
                "with the `local` of the call."
            )
        here = sum(shard.shape[0] for shard in self.shards)
        if here < self.shape[0]:
            raise ValueError(
                f"{self.path} cannot be {verb} outside of replicas: this "
                f"process has {here} of its {self.shape[0]} experts. Use a "
                "checkpoint, or a model without a strategy."
            )


def copies_of(variable):
    """List the variables of this process's replicas.

    Args:
        variable: Keras or TensorFlow variable.

    Returns:
        Tuple of TensorFlow variables.
    """
    variable = raw(variable)
    return tuple(getattr(variable, "values", (variable,)))


def strategy_of(variable):
    """The strategy whose replicas have other copies; None for a mesh."""
    return getattr(raw(variable), "_moe_keras_strategy", None)


def mark_copies(variable, path, strategy):
    """Mark each replica's copy with the experts that it holds.

    Args:
        variable: Keras or TensorFlow variable `(E / R, ...)` of a strategy.
        path: str. What the whole is called in checkpoints.
        strategy: The strategy.
    """
    raw(variable)._moe_keras_strategy = strategy
    each, *rest = variable.shape
    number = strategy.num_replicas_in_sync
    whole = (number * each, *rest)
    around = [slice(0, size) for size in rest]
    copies = copies_of(variable)
    first = 0
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        first = strategy.cluster_resolver.task_id * len(copies)
    for index, copy in enumerate(copies, first):
        experts = slice(index * each, (index + 1) * each)
        mark(copy, Shard(path, whole, ((experts, *around),), axis=0))


def mark_beside(beside, variable, kind, strategy):
    """Mark an optimizer slot, or an average, as a shard of the same experts.

    Args:
        beside: Keras or TensorFlow variable of the same number of experts.
        variable: Keras or TensorFlow variable; nothing happens unless it
            `is_split`.
        kind: str. What `beside` is to it.
        strategy: The strategy of both.
    """
    shard = shard_of(variable)
    if shard is not None:  # of a layout, which knows no replicas
        if shard_of(beside) is None:
            mark(beside, shard._replace(path=f"{shard.path}/{kind}"))
    elif is_split(variable):
        path = shard_of(copies_of(variable)[0]).path
        mark_copies(beside, f"{path}/{kind}", strategy)


def mark_optimizer(optimizer, variables):
    """Mark the slots of a Keras optimizer for variables that are split.

    Args:
        optimizer: A Keras optimizer, built under the strategy's scope.
        variables: List of the Keras variables that it updates.
    """
    for variable in filter(is_split, variables):
        beginning = f"{variable.path.replace('/', '_')}_"
        for beside in optimizer.variables:
            name = beside.path.split("/")[-1]
            if name.startswith(beginning):
                kind = name.removeprefix(beginning)
                mark_beside(beside, variable, kind, strategy_of(variable))


def is_split(variable):
    """Whether replicas hold different experts of a variable, not copies."""
    return shard_of(copies_of(variable)[0]) is not None
