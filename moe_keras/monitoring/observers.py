"""Observers of MoE layers: each call of a layer hands them one record.

N: tokens    D: depth    E: experts    K: experts per token
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from moe_keras.monitoring.layers import observed_layers


class CallRecord(NamedTuple):
    """One call of one MoE layer.

    Attributes:
        layer: The layer.
        tokens: Tensor `(N, D)`.
        mask: Boolean tensor `(N,)`, False for padding, or None.
        leading_shape: int32 tensor, shape of the inputs without the depth.
        routing: `Routing` of the tokens.
        plan: `DispatchPlan` of the routing.
        training: bool.
        loss: Scalar tensor, what the layer adds to the loss of the batch that
            replicas share; None if nothing.

    Example:

    >>> import moe_keras
    >>> records = []
    >>> class Keeper:
    ...     counts = False
    ...     def observe(self, record):
    ...         records.append(record)
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8)
    >>> layer.observers.add(Keeper())
    >>> _ = layer(tf.ones((3, 5, 6)))
    >>> int(records[0].totals()["tokens"])
    15
    """

    layer: Any
    tokens: Any
    mask: Any
    leading_shape: Any
    routing: Any
    plan: Any
    training: Any
    loss: Any = None

    def totals(self):
        """Sums over the tokens, padding left out.

        Returns:
            dict of tensors: `importance` and `load`, `(E,)`, and the scalars
            `tokens` and `overflow`, the choices dropped because their expert
            was full.
        """
        num_tokens = tf.shape(self.tokens)[0]
        if self.mask is not None:
            num_tokens = tf.math.count_nonzero(self.mask)
        load = self.plan.load
        return {
            "importance": self.routing.importance,
            "load": load,
            "tokens": num_tokens,
            "overflow": tf.reduce_sum(load - self.plan.counts),
        }


class Observers:
    """The observers of one layer; no list, which Keras would track.

    An observer has a method `observe(record)`, called with the `CallRecord`
    of every call, in whatever thread and graph it runs, and an attribute
    `counts`: whether it leaves a trace in variables, which `uncounted` is to
    prevent.

    Example:

    >>> import moe_keras
    >>> class Printer:
    ...     counts = False
    ...     def observe(self, record):
    ...         print(record.layer.name, tuple(record.tokens.shape))
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8, name="moe")
    >>> layer.observers.add(Printer())
    >>> _ = layer(tf.ones((3, 5, 6)))
    moe (15, 6)
    """

    def __init__(self, *observers):
        self._observers = observers

    def __iter__(self):
        return iter(self._observers)

    def add(self, observer):
        """Add an observer, which graphs traced from now on will call."""
        self._observers = (*self._observers, observer)

    def remove(self, observer):
        """Remove an observer; graphs traced before still call it."""
        self._observers = tuple(x for x in self if x is not observer)

    def observe(self, record):
        """Hand a record to all observers."""
        for observer in self:
            observer.observe(record)


@contextlib.contextmanager
def uncounted(model: keras.Layer) -> Iterator[None]:
    """Context manager: no layer of a model counts its routing.

    For serving, where counting would make every call write to a variable, and
    for decoding, where a token of a beam is no token of a corpus. It holds for
    all threads, for what runs eagerly and for graphs traced within the block;
    graphs from before still count.

    Args:
        model: Keras layer or model.

    Example:

    >>> import keras, moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8)
    >>> with uncounted(layer):
    ...     _ = layer(keras.ops.ones((3, 5)))
    >>> layer.routing_statistics().tokens
    0.0
    """
    paused = [
        (layer.observers, observer)
        for layer in observed_layers(model)
        for observer in layer.observers
        if observer.counts
    ]
    for observers, observer in paused:
        observers.remove(observer)
    try:
        yield
    finally:
        for observers, observer in paused:
            observers.add(observer)


class CollectedRouting(NamedTuple):
    """Where one call of one MoE layer sent its tokens.

    Attributes:
        layer: The layer.
        expert_index: int32 tensor `(..., K)`, of the leading shape of the
            layer's inputs. The experts that were chosen for each token, the
            best first, also those that had no room; -1 for none.
        gate: float tensor `(..., K)`. Their weights.

    Example:

    >>> import moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8)
    >>> with collected_routing(layer) as routings:
    ...     _ = layer(tf.ones((3, 6)))
    >>> tuple(routings[0].expert_index.shape), float(sum(routings[0].gate[0]))
    ((3, 2), 1.0)
    """

    layer: Any
    expert_index: Any
    gate: Any


@contextlib.contextmanager
def collected_routing(model: keras.Layer) -> Iterator[list[CollectedRouting]]:
    """Context manager: collect the routing of every call of an MoE layer.

    It holds for all threads and replicas, for what runs eagerly and for graphs
    traced within the block; a graph from before leaves nothing. In a graph the
    tensors belong to it: open the block in the function that is traced, around
    the call of the model, and return them.

    Args:
        model: Keras layer or model.

    Yields:
        List of `CollectedRouting`, in the order of the calls.

    Example:

    >>> import moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8, name="moe")
    >>> with collected_routing(layer) as routings:
    ...     _ = layer(tf.ones((3, 5, 6)))
    >>> [(r.layer.name, tuple(r.expert_index.shape)) for r in routings]
    [('moe', (3, 5, 2))]
    """
    collector = _Collector()
    layers = observed_layers(model)
    for layer in layers:
        layer.observers.add(collector)
    try:
        yield collector.routings
    finally:
        for layer in layers:
            layer.observers.remove(collector)


class _Collector:
    """Observer that keeps the routing of each call."""

    counts = False

    def __init__(self):
        self.routings = []

    def observe(self, record):
        def in_shape(values_NK):
            shape = [record.leading_shape, tf.shape(values_NK)[1:]]
            return tf.reshape(values_NK, tf.concat(shape, 0))

        self.routings.append(
            CollectedRouting(
                record.layer,
                in_shape(record.routing.expert_index),
                in_shape(record.routing.gate),
            )
        )
