"""Experts that run in parts, as a `LocalExperts`: what they must be like."""

import inspect

import tensorflow as tf

from moe_keras.experts.stacked import StackedExperts
from moe_keras.placement.split_weight import SplitWeight


def check_takes_local(experts):
    """Raise a ValueError if a layer would not hear which experts to run.

    Args:
        experts: Layer that has an attribute `splits`.
    """
    signature = inspect.signature(experts.call)
    # Not among `**kwargs`: Keras refuses to mix it with the tensors in there.
    if "local" not in signature.parameters:
        raise ValueError(
            "To run on several devices, the `call` of experts must take an "
            "argument `local`, by this name, and hand it to `read` (see "
            "`StackedExperts`). "
            f"Received: {type(experts).__name__}.call{signature}"
        )


def check_weights_are_split(experts):
    """Raise a ValueError if a stacked layer has weights that no one splits.

    Args:
        experts: Built layer.
    """
    if not isinstance(experts, StackedExperts):
        return
    split = {
        id(variable)
        for weight in experts.placed_weights.values()
        for variable in getattr(weight, "variables", [weight])
    }
    others = [w.path for w in experts.weights if id(w) not in split]
    if others:
        raise ValueError(
            "To be split over devices, experts must make all their weights "
            "with `add_expert_weight`, or a device would compute with those of "
            f"other experts. Received, made otherwise: {', '.join(others)}"
        )


def run_in_parts(experts, run):
    """Call `run()`, in which experts run as a `LocalExperts`.

    Args:
        experts: Layer of experts.
        run: Function without arguments.

    Returns:
        What `run` returns.

    Raises:
        ValueError: If experts with split weights read a variable of their
            own: it is that of other experts, or on another device.
    """
    weights = getattr(experts, "placed_weights", {}).values()
    if not any(isinstance(weight, SplitWeight) for weight in weights):
        return run()
    with tf.GradientTape() as tape:
        results = run()
    read = [variable.name for variable in tape.watched_variables()]
    if read:
        raise ValueError(
            f"{type(experts).__name__} is split over devices and must take "
            "its weights by `self.read(name, local)`, with the `local` of its "
            f"call. It has read: {', '.join(read)}"
        )
    return results
