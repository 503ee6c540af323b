"""Exponential moving average of a model's weights."""

import contextlib

import tensorflow as tf

from moe_keras.parallel.replicas.weight import (
    copies_of,
    is_split,
    mark_beside,
)
from moe_keras.placement.shards import device_of, whole_variables


class MovingAverage(tf.Module):
    """Keeps `average = decay * average + (1 - decay) * weight`.

    The average is updated once in `every` steps with `decay ** every`, which
    costs little and comes to nearly the same. Young averages forget faster:
    the decay grows as `(1 + updates) / (10 + updates)` up to its value.

    Under a strategy's scope every replica keeps an average of its copies.

    Args:
        variables: The model's trainable variables.
        decay: float in [0, 1). 0 keeps no average, which would take as much
            memory as the weights: these themselves take its place.
        every: int. Steps between two updates.

    Example:

    >>> weight = tf.Variable(1.0)
    >>> average = MovingAverage([weight], decay=0.9, every=1)
    >>> _ = weight.assign(3.0)
    >>> average.update()
    >>> with average.swapped_in():
    ...     round(float(weight), 2)
    2.8
    >>> float(weight)
    3.0
    """

    def __init__(self, variables, decay, every=10):
        super().__init__(name="moving_average")
        if not 0 <= decay < 1:
            raise ValueError(
                f"`decay` must be at least 0 and below 1. Received: {decay}"
            )
        self._weights = tuple(variables) if decay else ()
        self._decay = decay**every
        self.every = every
        self.updates = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.averages = []
        for weight in self._weights:
            with device_of(weight):
                self.averages.append(tf.Variable(weight, trainable=False))
        self._strategy = tf.distribute.get_strategy()
        if any(map(is_split, self._weights)):
            self._begin_with_parts()

    def _begin_with_parts(self):
        """Copies each replica's own part: all were made from the first one."""
        for average, weight in zip(self.averages, self._weights, strict=True):
            mark_beside(average, weight, "average", self._strategy)
            pairs = zip(copies_of(average), copies_of(weight), strict=True)
            for copy, part in pairs:
                copy.assign(part)

    @tf.function(autograph=False)
    def update(self):
        """Moves the averages towards the current weights."""
        self._strategy.run(self._update)

    def before_step(self, optimizer, gradients):
        """Gets ready for weights that are about to move; nothing to do here.

        Args:
            optimizer: Keras optimizer.
            gradients: List of tensors or `tf.IndexedSlices`, one for each
                weight.
        """

    def _next_decay(self):
        updates = tf.cast(self.updates.assign_add(1), tf.float32)
        return tf.minimum(self._decay, updates / (9.0 + updates))

    def _update(self):
        decay = self._next_decay()
        for average, weight in zip(self.averages, self._weights, strict=True):
            rate = tf.cast(1.0 - decay, average.dtype)
            with device_of(weight):
                average.assign_add(rate * (weight - average))

    def state(self):
        """Lists what a checkpoint has to keep, by name."""
        averages = whole_variables(self.averages)
        return {"averages": averages, "updates": self.updates}

    @contextlib.contextmanager
    def swapped_in(self):
        """Context manager: the model has the averaged weights."""
        if not self._decay:
            yield
            return
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @tf.function(autograph=False)
    def _swap(self):
        self._strategy.run(self._swap_on_replica)

    def _swap_on_replica(self):
        before = []  # one after the other: no second copy of them all
        for average, weight in zip(self.averages, self._weights, strict=True):
            with tf.control_dependencies(before), device_of(weight):
                kept = tf.identity(weight)
                put = weight.assign(average)
                before = [put, average.assign(kept)]
