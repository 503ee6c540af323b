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
    """What `SparseMoE.routing_statistics()` reads from the device.

    Attributes:
        importance: float array `(E,)`. Sum of the gates of each expert.
        load: float array `(E,)`. Tokens that chose each expert, whether or
            not a capacity let them in.
        cv_importance: float. Coefficient of variation of `importance`: 0 is
            even, `sqrt(E - 1)` is all for one expert.
        cv_load: float. The same of `load`.
        max_over_mean_load: float. Load of the busiest expert over the mean;
            where experts work in parallel it is the time lost by waiting.
        idle_share: float. Share of the experts without a single token.
        tokens: float. Tokens counted, padding left out.
        overflow: float. Choices dropped because their expert was full.
        mean_k: float. Mean number of experts that chose, or were chosen by, a
            token: what it costs where gates decide that themselves.

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


class RoutingMetric(keras.metrics.Metric):
    """Accumulates importance, load, tokens and overflow on the device.

    All of it lies in one vector, so that a step costs one addition. Being a
    Keras metric it is reset at every epoch, shown in the logs of `fit` and
    `evaluate` as `<name>_cv_load` and so on, summed over replicas, and no
    part of a layer's weights or checkpoints.

    Args:
        num_experts: int. Number of experts E.
        name: str. Prefix of the logged figures.

    Example:

    >>> metric = RoutingMetric(num_experts=2, name="moe")
    >>> metric.update_state([1.5, 0.5], [3, 0], tokens=3, overflow=0)
    >>> metric.statistics().idle_share, metric.statistics().mean_k
    (0.5, 1.0)
    """

    counts = True  # see `Observers`

    def __init__(self, num_experts, name=None):
        super().__init__(name=name, dtype="float32")
        self.num_experts = num_experts
        self.totals = self.add_variable(
            (2 * num_experts + 2,), initializer="zeros", name="totals"
        )

    def observe(self, record):
        """Add the totals of one call of the layer."""
        self.update_state(**record.totals())

    def update_state(self, importance, load, tokens, overflow):
        """Adds one batch: `(E,)`, `(E,)` and two scalars, of any dtype."""
        parts = [importance, load, [tokens], [overflow]]
        self.totals.assign_add(
            tf.stop_gradient(
                tf.concat([tf.cast(part, "float32") for part in parts], 0)
            )
        )

    def result(self):
        """The scalars for the logs, by name."""
        importance_E, load_E, tokens, overflow = self._split(self.totals.value)
        choices = tf.reduce_sum(load_E)
        figures = {
            "cv_importance": tf.sqrt(cv_squared(importance_E)),
            "cv_load": tf.sqrt(cv_squared(load_E)),
            "max_over_mean_load": tf.math.divide_no_nan(
                tf.reduce_max(load_E), choices / self.num_experts
            ),
            "idle_share": tf.reduce_mean(tf.cast(load_E == 0, "float32")),
            "overflow_share": tf.math.divide_no_nan(overflow, choices),
            "mean_k": tf.math.divide_no_nan(choices, tokens),
        }
        return {f"{self.name}_{key}": x for key, x in figures.items()}

    def statistics(self):
        """Reads everything from the device as a `RoutingStatistics`."""
        importance, load, tokens, overflow = self._split(
            keras.ops.convert_to_numpy(self.totals.value)
        )
        figures = {
            key.removeprefix(f"{self.name}_"): float(value)
            for key, value in self.result().items()
        }
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
