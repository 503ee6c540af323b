"""The routing of a call, handed to whoever asks for it.

K: experts per token
"""

import contextlib
import contextvars
from typing import Any, NamedTuple

import tensorflow as tf

_records = contextvars.ContextVar("records", default=None)


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
    >>> with collected_routing() as routings:
    ...     _ = layer(tf.ones((3, 6)))
    >>> tuple(routings[0].expert_index.shape), float(sum(routings[0].gate[0]))
    ((3, 2), 1.0)
    """

    layer: Any
    expert_index: Any
    gate: Any


@contextlib.contextmanager
def collected_routing():
    """Within the block every call of an MoE layer leaves its routing.

    It holds for what runs eagerly and for graphs that are traced within the
    block; a graph from before leaves nothing. In a graph the tensors belong
    to it: open the block in the function that is traced, around the call of
    the model, and return them.

    Yields:
        List of `CollectedRouting`, in the order of the calls.

    Example:

    >>> import moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8, name="moe")
    >>> with collected_routing() as routings:
    ...     _ = layer(tf.ones((3, 5, 6)))
    >>> [(r.layer.name, tuple(r.expert_index.shape)) for r in routings]
    [('moe', (3, 5, 2))]
    """
    records = []
    token = _records.set(records)
    try:
        yield records
    finally:
        _records.reset(token)


def collect_routing(layer, routing, leading_shape):
    """Leaves the routing of a call, if anybody asks for it.

    Args:
        layer: The layer.
        routing: `Routing` of its tokens.
        leading_shape: int32 tensor, the shape of its inputs but the depth.
    """
    records = _records.get()
    if records is None:
        return

    def in_shape(values_NK):
        k = tf.shape(values_NK)[1:]
        return tf.reshape(values_NK, tf.concat([leading_shape, k], 0))

    records.append(
        CollectedRouting(
            layer, in_shape(routing.expert_index), in_shape(routing.gate)
        )
    )
