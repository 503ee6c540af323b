"""The tokens that calibrate experts: for each those that are routed to it.

N: tokens    D: depth    E: experts    S: slots
"""

import contextlib

import numpy as np
import tensorflow as tf

from moe_keras.dispatch import dispatch


class RoutedRows:
    """Observer of one `SparseMoE` that keeps the tokens of each expert.

    Args:
        num_experts: int. E.
        max_rows: int. The most rows to keep of an expert, the first ones.

    Attributes:
        experts: List of arrays `(n, D)`, the rows of each expert.
        tokens: Array `(N, D)`, tokens whatever their experts; as many.
        called: bool. Whether the layer was called at all.

    Example:

    >>> from moe_keras import SparseMoE
    >>> layer = SparseMoE(num_experts=4, k=2, hidden_dim=8)
    >>> with watched_rows(layer, max_rows=10) as rows:
    ...     _ = layer(tf.ones((3, 5)))
    >>> [len(each) for each in rows.experts]  # the gate is not trained
    [3, 3, 0, 0]
    """

    counts = False  # it writes to no variable

    def __init__(self, num_experts, max_rows):
        self._max_rows = max_rows
        self._parts = [[] for _ in range(num_experts)]
        self._tokens = []
        self.called = False

    def observe(self, record):
        self.check_is_eager(record.layer.name)
        tokens = record.tokens
        if record.mask is not None:
            tokens = tf.boolean_mask(tokens, record.mask)
        self._keep(self._tokens, tokens.numpy())
        rows = dispatch(record.tokens, record.plan).numpy()
        self.add(rows, record.plan.counts.numpy(), record.plan.capacity)

    def check_is_eager(self, name):
        """Raise a ValueError in a graph, where there are no numbers."""
        if not tf.executing_eagerly():
            raise ValueError(
                "Experts are calibrated outside of graphs: call the model "
                "itself, not a `tf.function` of it, and neither `predict` nor "
                f"`generate`. Received a graph of {name}"
            )

    def add(self, rows, counts, capacity=None):
        """Keep rows that are sorted by expert.

        Args:
            rows: Array `(S, D)`.
            counts: int array `(E,)`.
            capacity: Slots of each expert; None for segments.
        """
        self.called = True
        starts = np.cumsum(counts) - counts
        if capacity is not None:
            starts = np.arange(len(counts)) * int(capacity)
        for part, start, count in zip(self._parts, starts, counts, strict=True):
            self._keep(part, rows[start : start + count])
        self._width = rows.shape[-1]

    def _keep(self, part, rows):
        room = self._max_rows - sum(map(len, part))
        if room > 0 and len(rows):
            part.append(np.array(rows[:room], "float32"))

    @property
    def experts(self):
        empty = np.zeros((0, self._width), "float32")
        return [np.concatenate([empty, *part]) for part in self._parts]

    @property
    def tokens(self):
        empty = np.zeros((0, self._width), "float32")
        return np.concatenate([empty, *self._tokens])


@contextlib.contextmanager
def watched_rows(layer, max_rows):
    """Context manager: keep the rows of a `SparseMoE` that is called within.

    Args:
        layer: `SparseMoE`.
        max_rows: int.

    Yields:
        `RoutedRows`.
    """
    rows = RoutedRows(layer.num_experts, max_rows)
    layer.observers.add(rows)
    try:
        yield rows
    finally:
        layer.observers.remove(rows)


def runner(model, calibration):
    """The function that calls a model for its calibration.

    Args:
        model: Keras layer.
        calibration: Function without arguments, or iterable of inputs of the
            model.

    Returns:
        Function without arguments.

    Raises:
        ValueError: If it is neither.
    """
    if callable(calibration) and not hasattr(calibration, "__iter__"):
        return calibration
    if not hasattr(calibration, "__iter__"):
        raise ValueError(
            "`calibration` must be an iterable of inputs of the model, or a "
            "function without arguments that calls the model. "
            f"Received: calibration={calibration!r}"
        )
    batches = list(calibration)

    def run():
        for batch in batches:
            model(batch, training=False)

    return run
