"""The balancing losses of a layer, and their weights, which may change.

E: experts
"""

import keras
import tensorflow as tf
from keras.src.backend.common.name_scope import (
    current_path,  # no public name
)

from moe_keras.checks import check_not_negative, given
from moe_keras.losses import importance_loss, load_loss
from moe_keras.monitoring.layers import routing_layers
from moe_keras.placement.replicas import num_replicas, sum_over_replicas

LOSSES = {
    "importance_loss_weight": importance_loss,
    "load_loss_weight": load_loss,
}


class LossWeights:
    """Weights of the balancing losses of one layer.

    They are in variables, so that a weight that is set while a model trains
    takes effect in graphs that exist already. A weight of 0 has no loss and no
    variable until it is raised, which must be before a graph that trains is
    made without the loss.

    Args:
        default: float. What None stands for.
        **weights: float from 0 on, or None, by the names in `LOSSES`.

    Example:

    >>> weights = LossWeights(importance_loss_weight=0.5, load_loss_weight=0)
    >>> weights.build()
    >>> weights["importance_loss_weight"] = 2.0
    >>> # CV squared of [1, 1, 0] is 1 / 2.
    >>> loss = weights.loss(importance=tf.constant([1.0, 1.0, 0.0]), load=None)
    >>> print(f"{loss:.3f}")
    1.000
    """

    def __init__(self, default=0.0, **weights):
        check_not_negative(**given(**weights))
        self._given = weights
        self._values = {
            name: default if weight is None else weight
            for name, weight in weights.items()
        }
        self.losses = [name for name in weights if self._values[name]]
        self._left_out = set()  # of a graph that trains
        self._strategy = None  # of the layer, once it is built
        self._variables = {}

    def build(self):
        """Make the variables, under the strategy of the layer."""
        self._strategy = tf.distribute.get_strategy()
        for name in self.losses:
            self._add_variable(name)

    def _add_variable(self, name):
        with tf.init_scope(), self._strategy.scope():
            self._variables[name] = tf.Variable(
                self._values[name],
                trainable=False,
                dtype="float64",  # rounded once, as a constant is
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                name=name,
            )

    @property
    def variables(self):
        """dict of the variables by name."""
        return dict(self._variables)

    def __getitem__(self, name):
        return self._values[name]

    def __setitem__(self, name, value):
        check_not_negative(**{name: value})
        if value and name in self._left_out:
            raise ValueError(
                f"`{name}` was 0 when a graph that trains was made, and that "
                "graph has no such loss. Raise it before the first step of "
                "training; or make the layer with a weight above 0, and set "
                "the weight to 0 until it is wanted. "
                f"Received: {name}={value}"
            )
        self._given[name] = self._values[name] = value
        if value and name not in self.losses:
            self.losses.append(name)
            if self._strategy is not None:
                self._add_variable(name)
        if name in self._variables:
            self._variables[name].assign(value)

    def __bool__(self):
        return bool(self.losses)

    def leave_out(self):
        """Note that the graph that is being made has no loss of weight 0."""
        if not tf.executing_eagerly():
            self._left_out |= self._values.keys() - set(self.losses)

    def get_config(self):
        """The weights as they were given, or set since."""
        return dict(self._given)

    def loss(self, **totals):
        """Add up the weighted losses.

        Args:
            **totals: Tensors `(E,)`, `importance` and `load` of the batch that
                replicas share. None where the weight is 0.

        Returns:
            Scalar tensor, or 0.0.
        """
        loss = 0.0
        for name in sorted(self._variables):
            total_E = totals[name.removesuffix("_loss_weight")]
            weight = tf.cast(self._variables[name], total_E.dtype)
            loss += weight * LOSSES[name](total_E)
        return loss


def balancing_loss(routing, weights, has_own=True):
    """The losses of the batch that replicas share, the same on each.

    Args:
        routing: `Routing` of the tokens of this replica.
        weights: `LossWeights`.
        has_own: bool. Whether the gate may have a loss of its own.

    Returns:
        Scalar tensor, or None if there is none: all weights have always been
        0, and the gate has no loss of its own.
    """
    weights.leave_out()
    if not weights and _is_never_any(routing.loss, has_own):
        return None
    loss = tf.cast(routing.loss, routing.importance.dtype)
    # Call `add_loss` only after the sum over replicas, also for the gate's own
    # loss, which replicas often have in common already: Keras clears a model's
    # losses when a replica calls it, those of others included.
    importance_E, load_E, loss = sum_over_replicas(
        [routing.importance, routing.load, loss / num_replicas()]
    )
    return loss + weights.loss(importance=importance_E, load=load_E)


def check_is_called(layer):
    """Raise a ValueError if a layer's `call` runs without the layer's own.

    `keras.layers.TimeDistributed` does so for each time step, and would add as
    many losses, each of a smaller batch.

    Args:
        layer: The layer that is about to add a loss.
    """
    inside = current_path().split("/")[-1]
    if inside == layer.name:
        return
    raise ValueError(
        f"{layer.name} adds a balancing loss whenever it is called, and was "
        f"called by {inside or 'a function'} as `layer.call(...)`, as "
        "`keras.layers.TimeDistributed` does for each time step. Leave the "
        "wrapper out: the layer takes inputs of any leading shape, such as "
        "(batch, time, depth), and then balances all their tokens at once. "
        "Or make it with loss weights of 0."
    )


def check_can_be_read(losses, layer):
    """Raise a ValueError if losses are within a loop that is over.

    Args:
        losses: List of scalar tensors that a layer has added.
        layer: The layer.
    """
    if tf.executing_eagerly():
        return
    graphs, graph = [], tf.compat.v1.get_default_graph()
    while graph is not None:
        graphs.append(graph)
        graph = getattr(graph, "outer_graph", None)
    for loss in losses:
        if tf.is_symbolic_tensor(loss) and loss.graph not in graphs:
            raise ValueError(
                f"{layer.name} was called within a loop, as the cell of a "
                "`keras.layers.RNN` is, and its balancing loss cannot be read "
                "outside of it. Give the RNN `unroll=True`; or call the layer "
                "on all time steps at once, before or behind the RNN; or make "
                "it with `importance_loss_weight=0` and `load_loss_weight=0` "
                "and a gate without a loss of its own."
            )


class LossWeightSchedule(keras.callbacks.Callback):
    """Keras callback that changes the weights of balancing losses in `fit`.

    It sets them at the beginning of every batch on all MoE layers of the model
    that have the loss. They are saved with the model.

    Args:
        importance_loss_weight: Function of the step, an int, that returns a
            float, such as a `keras.optimizers.schedules.LearningRateSchedule`;
            None to leave the weight alone.
        load_loss_weight: The same.

    Example:

    >>> import numpy as np, moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8)
    >>> model = keras.Sequential([keras.Input((3,)), layer])
    >>> model.compile("adam", "mse")
    >>> schedule = LossWeightSchedule(load_loss_weight=lambda n: 1 / (1 + n))
    >>> x = np.ones((8, 3))
    >>> _ = model.fit(x, x, batch_size=2, verbose=0, callbacks=[schedule])
    >>> layer.load_loss_weight, layer.importance_loss_weight  # step 3
    (0.25, 0.1)
    """

    def __init__(self, importance_loss_weight=None, load_loss_weight=None):
        super().__init__()
        schedules = {
            "importance_loss_weight": importance_loss_weight,
            "load_loss_weight": load_loss_weight,
        }
        self._schedules = {k: v for k, v in schedules.items() if v is not None}
        for name, schedule in self._schedules.items():
            if not callable(schedule):
                raise ValueError(
                    f"`{name}` must be a function of the step. "
                    f"Received: {name}={schedule!r}"
                )
        self._epoch_start = self._last_batch = 0

    def on_train_begin(self, logs=None):
        self._epoch_start = int(self.model.optimizer.iterations)
        self._layers = {
            name: [
                layer
                for layer in routing_layers(self.model)
                if name in getattr(layer, "balancing_losses", ())
            ]
            for name in self._schedules
        }

    def on_train_batch_begin(self, batch, logs=None):
        for name, schedule in self._schedules.items():
            value = float(schedule(self._epoch_start + batch))
            for layer in self._layers[name]:
                setattr(layer, name, value)

    def on_train_batch_end(self, batch, logs=None):
        self._last_batch = batch

    def on_epoch_end(self, epoch, logs=None):
        self._epoch_start += self._last_batch + 1


def _is_never_any(loss, has_own):
    """Whether the gate's loss is 0 whatever the batch.

    In eager mode a value of 0 may be that of this batch alone, such as an
    empty one, and then its gradient is still wanted.
    """
    if has_own and tf.is_tensor(loss) and tf.executing_eagerly():
        return False
    value = tf.get_static_value(loss)
    return value is not None and value == 0
