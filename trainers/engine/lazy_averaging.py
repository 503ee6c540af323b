"""A moving average that visits experts only when they move."""

import tensorflow as tf

from moe_keras.gradients.slices import without_repeats
from moe_keras.optimizers import read_in_place
from moe_keras.parallel.replicas.weight import is_split
from moe_keras.placement.shards import device_of
from trainers.engine.averaging import MovingAverage
from trainers.engine.optimizer import moves_slices_alone


class LazyMovingAverage(MovingAverage):
    """`MovingAverage` of weights of which an optimizer moves some slices.

    A slice that rests goes on drawing its average towards it. After n updates

        average = weight + decay^n (average - weight)

    which is made up for just before the slice moves, and before the averages
    are used. So an update of all averages costs what has moved since the last,
    whatever the number of experts. The numbers are those of `MovingAverage`,
    to rounding. Weights that an optimizer moves as a whole are averaged as
    ever.

    Args:
        variables, decay, every: As of `MovingAverage`; one replica has them.

    Example, of two experts, of which the second rests:

    >>> from trainers.engine.optimizer import FusedAdam
    >>> experts = tf.Variable([[0.0], [0.0]])
    >>> average = LazyMovingAverage([experts], decay=0.5, every=1)
    >>> gradient = tf.IndexedSlices(tf.ones((1, 1)), [0], [2, 1])
    >>> _ = experts.assign([[0.0], [1.0]])
    >>> for value in (1.0, 2.0):
    ...     average.before_step(FusedAdam(lazy=True), [gradient])
    ...     _ = experts.scatter_nd_update([[0]], [[value]])
    ...     average.update()  # decays of 1/10 and 2/11 at the beginning
    >>> float(average.averages[0][1, 0])  # not yet made up for
    0.0
    >>> with average.swapped_in():
    ...     round(float(experts[1, 0]), 4)  # 1 - 2/110
    0.9818
    """

    def __init__(self, variables, decay, every=10):
        super().__init__(variables, decay, every)
        # The logarithm of the decay of all updates together, and what it was
        # when each slice of an average was right.
        self._decayed = tf.Variable(
            0.0, trainable=False, dtype=tf.float64, name="average_decayed"
        )
        self._right_at = []
        for weight in self._weights:
            with device_of(weight):
                start = tf.zeros(weight.shape[:1], tf.float64)
                clock = tf.Variable(
                    start, trainable=False, name="average_right_at"
                )
            self._right_at.append(clock)
        self._rests = [False for _ in self._weights]

    def before_step(self, optimizer, gradients):
        """Makes up for the slices that an optimizer is about to move.

        Args:
            optimizer: Keras optimizer.
            gradients: List of tensors or `tf.IndexedSlices`, one for each
                weight.
        """
        for number, weight in enumerate(self._weights):
            gradient = gradients[number]
            if moves_slices_alone(optimizer, gradient, weight):
                self._rests[number] = True
                with device_of(weight):
                    self._make_up(number, without_repeats(gradient).indices)

    def _make_up(self, number, indices):
        """Makes some slices of an average right, once between two updates."""
        variables = self.averages[number], self._weights[number]
        right_at = _gather(self._right_at[number], indices)
        is_wrong = right_at > self._decayed  # a logarithm falls
        right_at, indices = (
            tf.boolean_mask(x, is_wrong) for x in (right_at, indices)
        )
        average, weight = (_gather(v, indices) for v in variables)
        average += self._rate(right_at, average) * (weight - average)
        for variable, values in (
            (self.averages[number], average),
            (self._right_at[number], tf.fill(tf.shape(indices), self._decayed)),
        ):
            tf.raw_ops.ResourceScatterUpdate(
                resource=variable.handle, indices=indices, updates=values
            )
        read_in_place(*variables, self._right_at[number])

    def _make_up_whole(self, number):
        average, clock = self.averages[number], self._right_at[number]
        weight = self._weights[number]
        with device_of(weight):
            rate = self._rate(tf.identity(clock), average)
            average.assign_add(rate * (weight - average))
            clock.assign(tf.fill(tf.shape(clock), self._decayed))

    def _rate(self, right_at, average):
        """`1 - decay^n` of each slice, 0 where it is right."""
        rate = -tf.math.expm1(self._decayed - right_at)
        shape = [-1] + [1] * (average.shape.rank - 1)
        rate = tf.reshape(rate, shape[: average.shape.rank])
        return tf.cast(rate, average.dtype)

    def _update(self):
        decay = tf.cast(self._next_decay(), tf.float64)
        self._decayed.assign_add(tf.math.log(decay))
        for number, rests in enumerate(self._rests):
            if not rests:
                self._make_up_whole(number)

    @tf.function(autograph=False)
    def _make_up_all(self):
        for number in range(len(self._weights)):
            self._make_up_whole(number)

    def _swap(self):
        self._make_up_all()
        super()._swap()

    def state(self):
        """Lists what a checkpoint has to keep, by name."""
        beside = {"decayed": self._decayed, "right_at": self._right_at}
        return {**super().state(), **(beside if self._weights else {})}


def _gather(variable, indices):
    return tf.raw_ops.ResourceGather(
        resource=variable.handle, indices=indices, dtype=variable.dtype
    )


def moving_average(optimizer, variables, decay):
    """Makes the moving average of the weights that an optimizer trains.

    Args:
        optimizer: Keras optimizer.
        variables: List of `tf.Variable`.
        decay: float, as of `MovingAverage`.

    Returns:
        `LazyMovingAverage` if the optimizer is lazy and one replica has all
        the weights, else `MovingAverage`.
    """
    is_lazy = getattr(optimizer, "lazy", False)
    is_alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
    if is_lazy and is_alone and not any(map(is_split, variables)):
        return LazyMovingAverage(variables, decay)
    return MovingAverage(variables, decay)
