"""The state of the LSTMs, carried from one batch to the next."""

import tensorflow as tf


class CarriedState(tf.Module):
    """The state that each row carries from one batch to the next.

    It stands in checkpoints, so that a resumed run has it too. What is not
    finite is not kept: the step that made it is left out.

    Args:
        model: `LanguageModel`.
        rows: int. Rows of every batch.

    Example:

    >>> from language_model.config import LanguageModelConfig
    >>> from language_model.model import LanguageModel
    >>> model = LanguageModel(
    ...     LanguageModelConfig(vocab_size=9, depth=4, lstm_units=4)
    ... )
    >>> carried = CarriedState(model, rows=2)
    >>> _, left = model.features(tf.ones((2, 3), tf.int32))
    >>> carried.keep(left)
    >>> bool(tf.reduce_all(carried.before(begins=False)[0][0] == left[0][0]))
    True
    >>> float(tf.reduce_max(tf.abs(carried.before(begins=True)[0][0])))
    0.0
    """

    def __init__(self, model, rows):
        super().__init__(name="carried_state")
        self._states = [
            tf.Variable(zeros, trainable=False)
            for zeros in tf.nest.flatten(model.initial_state(rows))
        ]
        self._like = model.initial_state(1)

    def before(self, begins):
        """The state before a batch: zeros where other texts begin."""
        goes_on = tf.logical_not(begins)
        states = [
            tf.where(goes_on, state, tf.zeros_like(state))
            for state in self._states
        ]
        return tf.nest.pack_sequence_as(self._like, states)

    def keep(self, state):
        """Keeps the state that a batch left."""
        for variable, left in zip(
            self._states, tf.nest.flatten(state), strict=True
        ):
            is_finite = tf.reduce_all(tf.math.is_finite(left))
            variable.assign(tf.where(is_finite, left, tf.zeros_like(left)))
