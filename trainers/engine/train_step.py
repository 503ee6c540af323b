"""One update of the weights, from one batch or from several."""

from typing import NamedTuple

import tensorflow as tf

from moe_keras.gradients.slices import without_repeats
from moe_keras.parallel.replicas.weight import is_split
from moe_keras.placement.replicas import (
    num_replicas,
    rows_of_replica,
    sum_over_replicas,
)
from moe_keras.placement.shards import device_of
from trainers.engine.gradients import GradientSum, with_values
from trainers.engine.optimizer import apply_on_replica, apply_scaled


class StepResult(NamedTuple):
    """Outcome of a step.

    Attributes:
        loss: Mean loss of an example, without auxiliary losses.
        examples: Examples that it is a mean of: rows, or tokens.
        norm: Global norm of the gradient, before it is clipped.
        is_finite: Whether both are finite; otherwise nothing was updated.
        others: dict. Means of what else the loss function sums up, by name.
    """

    loss: float
    examples: float
    norm: float
    is_finite: bool
    others: dict = {}


class TrainStep:
    """Computes loss and gradient, clips and updates.

    With `accumulate_steps` of k, the gradients of k batches are summed before
    one update:

        sum_m examples_m (grad loss_m + grad auxiliary_m) / sum_m examples_m

    An example is what the loss is a mean over, a row or a token. The loss is
    that of one batch that holds all their examples. An auxiliary loss is a
    function of its own batch. One that is not linear in the examples, as the
    balancing losses CV(importance)^2 and CV(load)^2 of a mixture of experts,
    is the mean of the k batches' values, and not its value on them together:
    each batch has to be balanced by itself, which asks for more. To have the
    latter, all k batches would have to be in memory at once. Layers that move
    something by themselves once an update, as the bias of `BiasBalancedGate`,
    are told of k: it is set as their `batches_per_update`, where they have
    that attribute. Layers that can hand over the gradients of their busy
    experts alone do so if the optimizer is lazy: their `sparse_gradients` is
    set.

    A step whose loss or gradient is not finite updates nothing: neither
    weights nor the state of the optimizer. Weights without a gradient, which
    the forward pass moves (a gate's bias, say), go back to where they were
    before the first batch of the step. Random generators go on, for they
    must not draw the same numbers again, and statistics are not weights.

    A model that was made under the scope of a `tf.distribute` strategy is
    trained by all its replicas. Each takes some rows of a batch, perhaps
    none, and loss and gradient are those of the whole batch:

        grad sum_r loss_sum_r / sum_r examples_r + grad sum_r auxiliary_r / R

    Auxiliary losses that are the same on all replicas, as those of
    `SparseMoE`, so count once; of others it is the mean.

    Args:
        model: A built Keras model.
        loss: Function of (model, batch), see `Task.loss`.
        optimizer: A Keras optimizer, built; for several replicas, or experts
            under a layout, one of `trainers.engine.optimizer`.
        clip_norm: float. The global norm of the gradient is clipped to this.
        accumulate_steps: int. Batches of one update.
        static_shapes: bool. Whether batches have so few shapes that the step
            is worth compiling for each of them.
        on_gradients: Function of (gradients, variables) or None. It is called
            within the graph of an update, before the gradient is clipped, and
            has the gradients of the whole batch.
        loss_scale: Scalar tensor or variable, or None. The loss is multiplied
            by it, and then the gradient divided: see `loss_scale`.
        batch_spec: Nest of `tf.TensorSpec` that fits every batch, or None.
            With it one graph serves all of them, unless `static_shapes`.
            Without, the first batch gets a graph of its own, and so does
            that of a resumed run, which is another: results of two graphs
            differ in their last bits.
        rows_of_replica: Function of a batch that returns the rows for this
            replica, see `SharedBatches`.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> optimizer = keras.optimizers.SGD(0.1)
    >>> optimizer.build(model.trainable_variables)
    >>> def loss(model, batch):
    ...     return tf.reduce_sum(model(batch) ** 2), tf.constant(2.0)
    >>> step = TrainStep(model, loss, optimizer, clip_norm=1.0)
    >>> result, batches = step(iter([tf.ones((2, 1))]))
    >>> result.examples, result.is_finite, len(batches)
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
        on_gradients=None,
        loss_scale=None,
        batch_spec=None,
        rows_of_replica=rows_of_replica,
    ):
        self._model = model
        self._loss = loss
        self._optimizer = optimizer
        self._clip_norm = clip_norm
        self._accumulate_steps = accumulate_steps
        self._on_gradients = on_gradients
        self._loss_scale = loss_scale
        self._rows_of_replica = rows_of_replica
        self._strategy = model.distribute_strategy
        is_lazy = getattr(optimizer, "lazy", False)
        for layer in model._flatten_layers():
            if hasattr(layer, "batches_per_update"):
                layer.batches_per_update = accumulate_steps
            if is_lazy and hasattr(layer, "sparse_gradients"):
                layer.sparse_gradients = True
        self._states = model.non_trainable_weights
        if accumulate_steps > 1:
            self._add_sums()
        traced = {"reduce_retracing": not static_shapes, "autograph": False}
        if batch_spec is not None and not static_shapes:
            traced = {"input_signature": [batch_spec], "autograph": False}
        self._update = tf.function(self._on_replicas(self._step), **traced)
        self._add = tf.function(self._on_replicas(self._add_batch), **traced)
        self._keep_states = tf.function(
            self._on_replicas(self._keep_states_of_replica), autograph=False
        )
        self._update_by_sums = tf.function(
            self._on_replicas(self._step_by_sums), autograph=False
        )

    def _add_sums(self):
        """Makes the sums over batches; each replica keeps its own."""

        def zeros(like):
            with device_of(like):
                return tf.Variable(
                    tf.zeros(like.shape, like.dtype),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.NONE,
                )

        with self._strategy.scope():
            self._sums = [
                GradientSum(v) for v in self._model.trainable_variables
            ]
            self._kept = [zeros(v) for v in self._states]

    def _on_replicas(self, function):
        """`function` run by every replica; what the first one returns."""

        def run(*batch):
            results = self._strategy.run(function, args=batch)
            return tf.nest.map_structure(
                lambda result: self._strategy.experimental_local_results(
                    result
                )[0],
                results,
            )

        return run

    def __call__(self, batches):
        """Takes as many batches as it needs and updates the weights once.

        Args:
            batches: Iterator.

        Returns:
            `StepResult` of Python numbers, and the list of the batches.
        """
        taken = [next(batches) for _ in range(self._accumulate_steps)]
        if self._accumulate_steps == 1:
            result = self._update(taken[0])
        else:
            self._keep_states()
            result = self._update_by_sums(
                *_mean_over_examples([self._add(batch) for batch in taken])
            )
        result = tf.nest.map_structure(float, result)
        return result._replace(is_finite=bool(result.is_finite)), taken

    def _gradients(self, batch):
        """Computes the means of the whole batch and this replica's gradient.

        Returns:
            dict of means by name, `loss` among them; scalar tensor; list of
            tensors, whose sum over replicas is the gradient.
        """
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            loss_sum, examples, *others = self._loss(
                self._model, self._rows_of_replica(batch)
            )
            auxiliary = self._model.losses
            sums = {"loss": loss_sum, **(others[0] if others else {})}
            *totals, examples = sum_over_replicas(
                [tf.stop_gradient(x) for x in (*sums.values(), examples)]
            )
            examples_or_1 = tf.maximum(examples, 1.0)
            loss = loss_sum / examples_or_1
            total = tf.add_n([loss, *(x / num_replicas() for x in auxiliary)])
            if self._loss_scale is not None:
                total *= self._loss_scale
        gradients = tape.gradient(total, variables)
        _check_all_are_there(gradients, variables)
        gradients = [without_repeats(gradient) for gradient in gradients]
        if self._loss_scale is not None:
            gradients = self._with_values(
                gradients, lambda values: values / self._loss_scale
            )
        means = {
            name: total / examples_or_1
            for name, total in zip(sums, totals, strict=True)
        }
        return means, examples, gradients

    def _apply(self, means, examples, gradients, states):
        """Sums the gradients of replicas; updates if all is finite.

        Otherwise weights that have no gradient get their `states` back.
        """
        variables = self._model.trainable_variables
        gradients, norm = _sum_gradients(gradients, variables)
        loss = means.pop("loss")
        is_finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        # The global norm is clipped by one factor for all gradients.
        factor = self._clip_norm / tf.maximum(norm, self._clip_norm)
        update = apply_scaled
        if num_replicas() > 1 or any(map(is_split, variables)):
            update = apply_on_replica

        def apply():
            if self._on_gradients:
                self._on_gradients(gradients, variables)
            update(self._optimizer, gradients, variables, factor)
            return True

        def restore():
            self._assign_states(states)
            return False

        tf.cond(is_finite, apply, restore)
        return StepResult(loss, examples, norm, is_finite, means)

    def _with_values(self, gradients, function):
        """`with_values` of each gradient, computed where its weight is."""
        variables, results = self._model.trainable_variables, []
        for variable, gradient in zip(variables, gradients, strict=True):
            with device_of(variable):
                results.append(with_values(gradient, function))
        return results

    def _assign_states(self, values):
        """Assigns on each replica: no collectives inside `tf.cond`."""
        for variable, value in zip(self._states, values, strict=True):
            with device_of(variable):
                tf.raw_ops.AssignVariableOp(
                    resource=variable.value.handle, value=value
                )

    def _keep_states_of_replica(self):
        for variable, kept in zip(self._states, self._kept, strict=True):
            with device_of(variable):
                kept.assign(variable.value)

    def _step(self, batch):
        states = [tf.convert_to_tensor(v) for v in self._states]
        return self._apply(*self._gradients(batch), states)

    def _add_batch(self, batch):
        means, examples, gradients = self._gradients(batch)
        gradients = self._with_values(
            gradients, lambda values: examples * values
        )
        for total, gradient in zip(self._sums, gradients, strict=True):
            total.add(gradient)
        return means, examples

    def _step_by_sums(self, means, examples):
        divisor = tf.maximum(examples, 1.0)
        gradients = self._with_values(
            [total.take() for total in self._sums],
            lambda values: values / divisor,
        )
        return self._apply(dict(means), examples, gradients, self._kept)


def _mean_over_examples(batches):
    """Averages over the examples of several batches, and counts them.

    Args:
        batches: List of `(means, examples)`.
    """
    examples = tf.add_n([examples for _, examples in batches])
    names = batches[0][0]
    totals = {
        name: tf.add_n([means[name] * count for means, count in batches])
        for name in names
    }
    divisor = tf.maximum(examples, 1.0)
    return {name: totals[name] / divisor for name in totals}, examples


def _check_all_are_there(gradients, variables):
    missing = [
        variable.path
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is None
    ]
    if missing:
        raise ValueError(
            "Every trainable weight must take part in the loss; set "
            "`trainable = False` on the others. There is no gradient of "
            f"{', '.join(missing)}."
        )


def _sum_gradients(gradients, variables):
    """Sums gradients over replicas, and takes their global norm.

    If replicas have different parts of a weight, its gradient is already
    summed, and only a part of it is here: then only the norm is summed over
    replicas. Gradients of other weights are summed as tensors, because each
    replica has those of its own rows.
    """
    if num_replicas() == 1:
        return gradients, tf.linalg.global_norm(gradients)
    pairs = list(zip(gradients, map(is_split, variables), strict=True))
    ours = [gradient for gradient, is_ours in pairs if is_ours]
    others = [
        tf.convert_to_tensor(gradient)
        for gradient, is_ours in pairs
        if not is_ours
    ]
    summed = sum_over_replicas(others)
    norm = tf.linalg.global_norm(summed)
    if not ours:
        return summed, norm
    square = sum_over_replicas(tf.linalg.global_norm(ours) ** 2)
    whole = iter(summed)
    gradients = [
        gradient if is_ours else next(whole) for gradient, is_ours in pairs
    ]
    return gradients, tf.sqrt(norm**2 + square)
