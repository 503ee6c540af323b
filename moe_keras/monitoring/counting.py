"""Whether layers count their routing, here and now."""

import contextlib
import contextvars

_is_counting = contextvars.ContextVar("is_counting", default=True)


@contextlib.contextmanager
def uncounted():
    """Within the block no layer counts its routing, nor do graphs built in it.

    For serving, where counting would make every call write to a variable, and
    for decoding, where a token of a beam is no token of a corpus.

    Example:

    >>> import keras, moe_keras
    >>> layer = moe_keras.SparseMoE(4, k=2, hidden_dim=8)
    >>> with uncounted():
    ...     _ = layer(keras.ops.ones((3, 5)))
    >>> layer.routing_statistics().tokens
    0.0
    """
    token = _is_counting.set(False)
    try:
        yield
    finally:
        _is_counting.reset(token)


def is_counting():
    """Whether layers are to count their routing, here and now."""
    return _is_counting.get()
