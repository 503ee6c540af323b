"""Routing statistics: how evenly the experts of a layer are used.

A gate that collapses onto a few experts leaves every usual dashboard green.
These are the figures that show it (table 6 of arXiv:1701.06538 reports them).

E: experts
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from moe_keras.losses import cv_squared


class RoutingStatistics(NamedTuple):
    """How evenly a layer used its experts since the last reset.

    Attributes:
        importance: float array `(E,)`. Sum of the gates of each expert.
        load: float array `(E,)`. Tokens that chose each expert, whether or
            not a capacity let them in.
        cv_importance: float. Coefficient of variation of `importance`: 0 is
            even, `sqrt(E - 1)` is all for one expert.
        cv_load: float. The same of `load`.
        max_over_mean_load: float. Load of the busiest expert over the mean;
            where experts work in parallel it is the time lost by waiting.
        idle_share: float. Fraction of the experts without a single token.
        tokens: float. Tokens counted, padding left out.
        overflow: float. Choices dropped because their expert was full.
        mean_k: float. Mean number of experts that chose, or were chosen by, a
            token: what it costs where gates decide that themselves.
        balancing_loss: float. Mean of what training steps have added to the
            loss: the weighted losses of the layer, and that of its gate.

    Example:

    >>> import moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8)
    >>> _ = layer(keras.ops.ones((3, 5, 6)))  # all choose the same two experts
    >>> statistics = layer.routing_statistics()
    >>> statistics.load.tolist(), statistics.max_over_mean_load
    ([15.0, 15.0, 0.0, 0.0], 2.0)
    """

    importance: np.ndarray
    load: np.ndarray
    cv_importance: float
    cv_load: float
    max_over_mean_load: float
    idle_share: float
    tokens: float
    overflow: float
    mean_k: float
    balancing_loss: float = 0.0


class RoutingMetric(keras.metrics.Metric):
    """Accumulates importance, load, tokens and overflow on the device.

    All of it is in one vector, so that a step costs one addition; in float64,
    because float32 counts single tokens no further than 2^24. Being a Keras
    metric it is reset at every epoch, shown in the logs of `fit` and
    `evaluate` as `<prefix>_cv_load` and so on, summed over replicas, and no
    part of a layer's weights or checkpoints.

    Args:
        num_experts: int. Number of experts E.
        name: str. Prefix of the logged figures, until `prefix` is set.
        logs: bool. Whether the figures are in the logs at all.

    Attributes:
        prefix: str. Path of the layer, which no other layer has.

    Example:

    >>> metric = RoutingMetric(num_experts=2, name="moe")
    >>> metric.update_state([1.5, 0.5], [3, 0], tokens=3, overflow=0)
    >>> metric.statistics().idle_share, metric.statistics().mean_k
    (0.5, 1.0)
    """

    counts = True  # see `Observers`

    def __init__(self, num_experts, name=None, logs=True):
        super().__init__(name=name, dtype="float32")
        self.num_experts = num_experts
        self.prefix = self.name
        self._logs = logs
        self.totals = self.add_variable(
            (2 * num_experts + 2,),
            initializer="zeros",
            dtype="float64",
            name="totals",
        )
        # Not by `add_variable`: `.keras` files hold those of a metric by their
        # number, and would not load.
        self.losses = sum_over_calls(2)  # their sum, and their number

    def observe(self, record):
        """Add the totals of one call of the layer."""
        self.update_state(**record.totals())
        if record.loss is not None:
            loss = tf.stop_gradient(tf.cast(record.loss, "float32"))
            self.losses.assign_add(tf.stack([loss, 1.0]))

    def update_state(self, importance, load, tokens, overflow):
        """Add one batch: `(E,)`, `(E,)` and two scalars, of any dtype."""
        parts = [importance, load, [tokens], [overflow]]
        self.totals.assign_add(
            tf.stop_gradient(
                tf.concat([tf.cast(part, "float64") for part in parts], 0)
            )
        )

    def reset_state(self):
        super().reset_state()
        self.losses.assign(tf.zeros_like(self.losses))

    def result(self):
        """The scalars for the logs, by name."""
        if not self._logs:
            return {}
        return {f"{self.prefix}_{k}": x for k, x in self.figures().items()}

    def figures(self):
        """The scalars of the statistics, by name."""
        importance_E, load_E, tokens, overflow = self._split(self.totals.value)
        choices = tf.reduce_sum(load_E)
        loss, losses = tf.unstack(tf.convert_to_tensor(self.losses))
        return {
            "cv_importance": tf.sqrt(cv_squared(importance_E)),
            "cv_load": tf.sqrt(cv_squared(load_E)),
            "max_over_mean_load": tf.math.divide_no_nan(
                tf.reduce_max(load_E), choices / self.num_experts
            ),
            "idle_share": tf.reduce_mean(tf.cast(load_E == 0, "float64")),
            "overflow_share": tf.math.divide_no_nan(overflow, choices),
            "mean_k": tf.math.divide_no_nan(choices, tokens),
            "balancing_loss": tf.math.divide_no_nan(loss, losses),
        }

    def statistics(self):
        """Read everything from the device as a `RoutingStatistics`."""
        importance, load, tokens, overflow = self._split(
            keras.ops.convert_to_numpy(self.totals.value)
        )
        figures = {key: float(x) for key, x in self.figures().items()}
        del figures["overflow_share"]
        return RoutingStatistics(
            importance=importance,
            load=load,
            tokens=float(tokens),
            overflow=float(overflow),
            **figures,
        )

    def _split(self, totals):
        num = self.num_experts
        return totals[:num], totals[num : 2 * num], totals[-2], totals[-1]


def sum_over_calls(size, aggregation="SUM"):
    """Make a variable that each replica writes on its own.

    Args:
        size: int, or the initial value.
        aggregation: str. "SUM" if its value is the sum over replicas,
            "ONLY_FIRST_REPLICA" if that of the first.
    """
    value = tf.zeros(size) if isinstance(size, int) else size
    with tf.init_scope():
        return tf.Variable(
            value,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation[aggregation],
        )
