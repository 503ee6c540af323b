"""The padding of a prompt, while `generate` reads it.

keras-hub's `generate` reads a prompt together with the empty room for the
answer, and does not tell most decoders which places are padding: causal
attention does not need to know. Experts do, or they compute the whole room for
nothing. The layers that call the blocks have no argument for a mask, so a
context variable hands it down; each thread has its own.

B: batch    T: time
"""

import contextlib
import contextvars
import functools

_prompt = contextvars.ContextVar("mask of the prompt", default=None)
_reading = contextvars.ContextVar("whether the prompt is read", default=False)


def padding_of_prompt():
    """The mask of the prompt that is being read, `(B, T)`; None at other times.

    Example:

    >>> padding_of_prompt() is None
    True
    """
    return _prompt.get() if _reading.get() else None


def leave_out_padding(model):
    """Lets a model's `generate` hand on which tokens of a prompt are padding.

    Args:
        model: A task of keras-hub, with `generate_step` and `_build_cache`.
    """
    model.generate_step = functools.partial(
        _generate_step, type(model).generate_step, model
    )
    model._build_cache = functools.partial(
        _build_cache, type(model)._build_cache, model
    )


def keep_padding(model):
    """Takes `leave_out_padding` back."""
    for name in ("generate_step", "_build_cache"):
        if name in vars(model):
            delattr(model, name)


def _generate_step(original, model, inputs, *args, **kwargs):
    with _set(_prompt, inputs["padding_mask"]):
        return original(model, inputs, *args, **kwargs)


def _build_cache(original, model, *args, **kwargs):
    with _set(_reading, True):
        return original(model, *args, **kwargs)


@contextlib.contextmanager
def _set(variable, value):
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
