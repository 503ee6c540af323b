"""What one watched MoE layer counts on the device.

N: tokens    D: depth    E: experts    K: experts per token    P: probe tokens
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from moe_keras.monitoring.statistics import sum_over_calls

PROBE_TOKENS = 256  # P


class Counts(NamedTuple):
    """Sums over the training steps of a window, see `LayerWatch.close`.

    Attributes:
        importance: float array `(E,)`. Sum of the gates of each expert.
        load: float array `(E,)`. Tokens that chose each expert.
        tokens: float. Tokens, padding left out.
        overflow: float. Choices dropped because their expert was full.
        gate_metrics: dict of floats. Sums of `Routing.metrics`.
        balancing_loss: float. Mean of what the calls added to the loss; None
            where they added none.
        changed_share: float or None. Fraction of the probe's tokens whose first
            choice is another than at the end of the last window.
    """

    importance: Any
    load: Any
    tokens: float
    overflow: float
    gate_metrics: dict
    balancing_loss: float | None
    changed_share: float | None


class LayerWatch:
    """Observer that adds up the training steps of one MoE layer.

    Evaluation and epochs leave it alone, so that a window may span them. All
    sums are in one vector, one addition a step.

    The first batch of each window leaves `P` of its tokens on the device, the
    *probe*. When a window ends, the probe of the window before is routed once
    more, without noise, and compared with how it was routed then: the tokens
    are the same, and recent, and only the gate has changed.

    Args:
        layer: A built layer with `num_experts`, `depth` and `gate`. Make the
            watch under the strategy's scope that the layer was made under.

    Example:

    >>> import moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8)
    >>> layer.build((None, 3))
    >>> watch = LayerWatch(layer)
    >>> layer.observers.add(watch)
    >>> _ = layer(tf.ones((6, 3)), training=True)
    >>> counts = watch.close()
    >>> counts.tokens, float(counts.load.sum())
    (6.0, 12.0)
    """

    counts = True  # see `Observers`

    def __init__(self, layer):
        if not layer.built:
            raise ValueError(
                "A layer must be built before it is watched: call the model "
                f"once, or give it an Input. Received: {layer.name}"
            )
        self._num_experts = layer.num_experts
        self._gate = layer.gate
        self._metric_names = tuple(getattr(layer.gate, "metric_names", ()))
        size = 2 * self._num_experts + 4 + len(self._metric_names)
        self._totals = sum_over_calls(size)
        self._probe = sum_over_calls(
            tf.zeros((PROBE_TOKENS, layer.depth)), "ONLY_FIRST_REPLICA"
        )
        self._is_token = sum_over_calls(
            tf.zeros(PROBE_TOKENS, "bool"), "ONLY_FIRST_REPLICA"
        )
        self._last = None  # tokens, mask and first choices of the last probe
        self._first_choice = tf.function(
            self._first_choice_eagerly, autograph=False
        )

    def observe(self, record):
        """Add one call of the layer, if it trains."""
        if not record.training:
            return
        tf.cond(
            tf.equal(self._totals[2 * self._num_experts], 0.0),
            lambda: self._keep_probe(record.tokens, record.mask),
            lambda: False,
        )
        totals, metrics = record.totals(), record.routing.metrics
        parts = [totals["importance"], totals["load"]]
        parts += [[totals["tokens"]], [totals["overflow"]]]
        parts += [[0.0, 0.0] if record.loss is None else [record.loss, 1.0]]
        parts += [[metrics[name]] for name in self._metric_names]
        self._totals.assign_add(
            tf.stop_gradient(
                tf.concat([tf.cast(part, "float32") for part in parts], 0)
            )
        )

    def close(self):
        """End a window and begin the next.

        Returns:
            `Counts`.
        """
        importance, load, scalars = np.split(
            tf.identity(self._totals).numpy(),
            [self._num_experts, 2 * self._num_experts],
        )
        tokens, overflow, loss, losses, *metrics = scalars
        changed_share = self._changed_share() if tokens else None
        self._totals.assign(tf.zeros_like(self._totals))
        return Counts(
            importance=importance,
            load=load,
            tokens=float(tokens),
            overflow=float(overflow),
            gate_metrics=dict(
                zip(self._metric_names, map(float, metrics), strict=True)
            ),
            balancing_loss=float(loss / losses) if losses else None,
            changed_share=changed_share,
        )

    def reset(self):
        """Forget everything, as if the watch were new."""
        self._totals.assign(tf.zeros_like(self._totals))
        self._last = None

    def _keep_probe(self, tokens_ND, mask_N):
        num_tokens = tf.shape(tokens_ND)[0]
        if mask_N is None:
            mask_N = tf.ones(num_tokens, "bool")
        # Spread over the batch; where it has fewer tokens, all of them.
        every = tf.maximum(num_tokens // PROBE_TOKENS, 1)
        missing = tf.maximum(PROBE_TOKENS - num_tokens, 0)
        tokens_PD = tf.cast(tokens_ND[::every][:PROBE_TOKENS], "float32")
        self._probe.assign(tf.pad(tokens_PD, [[0, missing], [0, 0]]))
        self._is_token.assign(
            tf.pad(mask_N[::every][:PROBE_TOKENS], [[0, missing]])
        )
        return True

    def _changed_share(self):
        changed_share = None
        if self._last is not None:
            tokens_PD, mask_P, then_P = self._last
            now_P = self._first_choice(tokens_PD, mask_P).numpy()
            changed = (now_P != then_P)[mask_P.numpy()]
            changed_share = float(changed.mean()) if changed.size else None
        tokens_PD = tf.identity(self._probe)
        mask_P = tf.identity(self._is_token)
        then_P = self._first_choice(tokens_PD, mask_P).numpy()
        self._last = tokens_PD, mask_P, then_P
        return changed_share

    def _first_choice_eagerly(self, tokens_PD, mask_P):
        routing = self._gate(tokens_PD, mask=mask_P, training=False)
        return routing.expert_index[:, 0]
