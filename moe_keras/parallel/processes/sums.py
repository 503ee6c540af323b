"""Variables that replicas of several processes have in parts, to be added up.

Metrics are of this kind. TensorFlow adds them up when they are saved, and
waits for ever if one process saves alone.
"""

import tensorflow as tf

from moe_keras.placement.replicas import replica_index, sum_over_replicas


class SumsOfReplicas:
    """Stand-ins for such variables, which one process can save alone.

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
        """Sets the stand-ins; all workers must call it at the same point."""
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

    def share_out(self):
        """Sets the variables after the stand-ins were restored."""
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
