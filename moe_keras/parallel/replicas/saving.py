"""Gathers what replicas hold in parts, so that it can be saved.

These are the weights of experts, if each replica has some of the experts, and
metrics, which are the sum of a term on each replica.

E: experts    R: replicas
"""

import numpy as np
import tensorflow as tf

from moe_keras.parallel.replicas.weight import copies_of, strategy_of
from moe_keras.placement.replicas import replica_index, sum_over_replicas
from moe_keras.placement.shards import raw, shard_of


def gather_whole(variable, keeps=True):
    """Gather all of a variable that is split over replicas, on this host.

    All workers must call it at the same point. No device ever holds all of it:
    the shards are sent to all devices one after the other, and copied from
    there to the hosts that keep them.

    Args:
        variable: Keras or TensorFlow variable that `is_split`.
        keeps: bool. Whether this process wants the result, or only helps.

    Returns:
        Array `(E, ...)`, or None.
    """
    parts = [
        part.numpy() if keeps else None for part in _parts_of_all(variable)
    ]
    return np.concatenate(parts) if keeps else None


def _parts_of_all(variable):
    """Yield every replica's shard, `(E / R, ...)`, one after the other."""
    variable = raw(variable)
    if not hasattr(variable, "_moe_keras_send"):
        variable._moe_keras_send = _sending(variable)
    number = shard_of(copies_of(variable)[0]).shape[0] // variable.shape[0]
    for index in range(number):
        yield variable._moe_keras_send(tf.constant(index))


def _sending(variable):
    """Make a `tf.function` that is traced once, for all shards and saves."""
    strategy = strategy_of(variable)

    def send(index):
        is_here = tf.equal(replica_index(), index)
        part = tf.convert_to_tensor(variable)
        return sum_over_replicas(tf.where(is_here, part, tf.zeros_like(part)))

    def run(index):
        parts = strategy.run(send, args=(index,))
        return strategy.experimental_local_results(parts)[0]

    return tf.function(run, autograph=False)


def gather_pieces(wholes, keeps):
    """Gather the shards of other processes, to be saved.

    All workers must call it at the same point, with the same weights. One
    shard at a time is on the devices; what is kept is in the host's memory.

    Args:
        wholes: List of what `whole_variables` returns.
        keeps: bool. Whether this process is the one that saves.
    """
    for whole in wholes:
        variable = getattr(whole, "of_replicas", None)
        if variable is None:
            continue
        mine = shard_of(copies_of(variable)[0])
        each = variable.shape[0]
        for index, part in enumerate(_parts_of_all(variable)):
            if not keeps:
                continue
            experts = slice(index * each, (index + 1) * each)
            piece = (experts, *mine.pieces[0][1:])
            (place,) = mine._replace(pieces=(piece,)).places
            with tf.device("CPU:0"):
                whole.pieces_elsewhere[place] = tf.identity(part)


class SumsOfReplicas:
    """Stand-ins for summed variables, which one process can save alone.

    Metrics are summed over replicas when they are read. TensorFlow sums them
    when they are saved, and waits for ever if one process saves alone.

    Args:
        variables: List of TensorFlow variables.
        strategy: Their strategy.

    Attributes:
        to_save: The list, with stand-ins in their places where the strategy
            has several processes, and else as it is.

    Example:

    >>> variable = tf.Variable(1.0)
    >>> sums = SumsOfReplicas([variable], tf.distribute.get_strategy())
    >>> sums.to_save[0] is variable
    True
    """

    def __init__(self, variables, strategy):
        self._strategy = strategy
        self._pairs = []
        self.to_save = []
        several = isinstance(
            strategy, tf.distribute.MultiWorkerMirroredStrategy
        )
        for variable in variables:
            if several and _is_sum(variable):
                here = tf.Variable(tf.zeros(variable.shape, variable.dtype))
                self._pairs.append((variable, here))
                variable = here
            self.to_save.append(variable)

    def gather(self):
        """Set the stand-ins; all workers must call it at the same point."""
        if not self._pairs:
            return

        def add_up():
            return sum_over_replicas(
                [tf.identity(variable) for variable, _ in self._pairs]
            )

        sums = tf.function(
            lambda: self._strategy.run(add_up), autograph=False
        )()
        for (_, here), total in zip(self._pairs, sums, strict=True):
            here.assign(self._strategy.experimental_local_results(total)[0])

    def scatter(self):
        """Set the variables after their stand-ins were restored."""
        if not self._pairs:
            return

        def take():
            for variable, here in self._pairs:
                is_first = tf.equal(replica_index(), 0)
                variable.assign(tf.where(is_first, here, tf.zeros_like(here)))

        tf.function(lambda: self._strategy.run(take), autograph=False)()


def _is_sum(variable):
    return (
        getattr(variable, "synchronization", None)
        == tf.VariableSynchronization.ON_READ
        and variable.aggregation == tf.VariableAggregation.SUM
    )
