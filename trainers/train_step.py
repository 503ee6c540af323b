"""One update of the weights, from one batch or from several."""

from typing import NamedTuple

import tensorflow as tf


class StepFigures(NamedTuple):
    """What a step tells.

    Attributes:
        loss: Mean loss for each token, without auxiliary losses.
        tokens: Tokens that it is a mean of.
        norm: Global norm of the gradient, before it is cut.
        is_finite: Whether both are finite; otherwise nothing was updated.
    """

    loss: float
    tokens: float
    norm: float
    is_finite: bool


class TrainStep:
    """Loss, gradient, cut and update.

    With `accumulate_steps` of k, the gradients of k batches are summed before
    one update:

        sum_m tokens_m (grad loss_m + grad auxiliary_m) / sum_m tokens_m

    The loss is that of one batch which holds all their tokens: means over
    tokens, weighed by tokens, are the mean over all. An auxiliary loss is a
    function of its own batch. What is not linear in the tokens, as the
    balancing losses CV(importance)^2 and CV(load)^2 of a mixture of experts,
    is the mean of the k batches' values, and not its value on them together:
    each batch has to be balanced by itself, which asks for more. To have the
    latter, all k batches would have to be in memory at once.

    A step whose loss or gradient is not finite updates nothing: neither
    weights nor the state of the optimizer.

    Args:
        model: A built Keras model.
        loss: Function of (model, batch) that calls the model with
            `training=True` and returns the sum of the loss over the tokens of
            the batch and their number, two float32 scalars.
        optimizer: A Keras optimizer, built.
        clip_norm: float. The global norm of the gradient is cut to this.
        accumulate_steps: int. Batches of one update.
        static_shapes: bool. Whether batches have so few shapes that the step
            is worth compiling for each of them.
        watch: Function of (gradients, variables) or None. It is called within
            the graph of an update, before the gradient is cut.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> optimizer = keras.optimizers.SGD(0.1)
    >>> optimizer.build(model.trainable_variables)
    >>> def loss(model, batch):
    ...     return tf.reduce_sum(model(batch) ** 2), tf.constant(2.0)
    >>> step = TrainStep(model, loss, optimizer, clip_norm=1.0)
    >>> figures, batches = step(iter([tf.ones((2, 1))]))
    >>> figures.tokens, figures.is_finite, len(batches)
    (2.0, True, 1)
    """

    def __init__(
        self,
        model,
        loss,
        optimizer,
        clip_norm,
        accumulate_steps=1,
        static_shapes=False,
        watch=None,
    ):
        self._model = model
        self._loss = loss
        self._optimizer = optimizer
        self._clip_norm = clip_norm
        self._accumulate_steps = accumulate_steps
        self._watch = watch
        if accumulate_steps > 1:
            self._sums = [
                tf.Variable(tf.zeros_like(variable.value), trainable=False)
                for variable in model.trainable_variables
            ]
            self._totals = tf.Variable([0.0, 0.0], trainable=False)
        compiled = {"reduce_retracing": not static_shapes}
        self._update = tf.function(self._update_eagerly, **compiled)
        self._add = tf.function(self._add_eagerly, **compiled)
        self._update_by_sums = tf.function(self._update_by_sums_eagerly)

    def __call__(self, batches):
        """Takes as many batches as it needs and updates the weights once.

        Args:
            batches: Iterator.

        Returns:
            `StepFigures` of Python numbers, and the list of the batches.
        """
        taken = [next(batches) for _ in range(self._accumulate_steps)]
        if self._accumulate_steps == 1:
            figures = self._update(taken[0])
        else:
            for batch in taken:
                self._add(batch)
            figures = self._update_by_sums()
        loss, tokens, norm, is_finite = (float(figure) for figure in figures)
        return StepFigures(loss, tokens, norm, bool(is_finite)), taken

    def _gradients(self, batch):
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            loss_sum, tokens = self._loss(self._model, batch)
            loss = loss_sum / tf.maximum(tokens, 1.0)
            total = tf.add_n([loss, *self._model.losses])
        gradients = tape.gradient(total, variables)
        # Rows of an embedding may come twice: sum them before the norm.
        return loss, tokens, [tf.convert_to_tensor(g) for g in gradients]

    def _apply(self, loss, gradients):
        """Updates the weights if all is finite; returns the norm and that."""
        variables = self._model.trainable_variables
        cut, norm = tf.clip_by_global_norm(gradients, self._clip_norm)
        is_finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)

        def apply():
            if self._watch:
                self._watch(gradients, variables)
            self._optimizer.apply(cut, variables)
            return True

        tf.cond(is_finite, apply, lambda: False)
        return norm, is_finite

    def _update_eagerly(self, batch):
        loss, tokens, gradients = self._gradients(batch)
        return StepFigures(loss, tokens, *self._apply(loss, gradients))

    def _add_eagerly(self, batch):
        loss, tokens, gradients = self._gradients(batch)
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.assign_add(tokens * gradient)
        self._totals.assign_add(tf.stack([tokens * loss, tokens]))

    def _update_by_sums_eagerly(self):
        loss_sum, tokens = tf.unstack(self._totals)
        divisor = tf.maximum(tokens, 1.0)
        loss = loss_sum / divisor
        gradients = [total / divisor for total in self._sums]
        figures = StepFigures(loss, tokens, *self._apply(loss, gradients))
        for total in (*self._sums, self._totals):
            total.assign(tf.zeros_like(total))
        return figures
