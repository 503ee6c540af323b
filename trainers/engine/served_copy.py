"""A trained model as a server should have it."""

import dataclasses

import tensorflow as tf

from trainers.engine.checkpoints.contents import weights_by_path

# int8 is how a SavedModel keeps the weights of a copy in float32.
PRECISIONS = ("float32", "bfloat16", "int8")


def served_copy(model, build, precision="float32"):
    """The same model without a capacity of its experts, in a precision.

    A limited capacity is for training, and would let texts of a batch take
    each other's places. Weights and products are of the precision; gates,
    cell states and scores are float32 always.

    Args:
        model: A built Keras model whose `config`, a frozen dataclass, has the
            field `capacity_factor`.
        build: Function of such a config and a precision that returns a model.
        precision: One of `PRECISIONS`.

    Returns:
        A model of its own.

    Raises:
        ValueError: for another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"`precision` must be one of {', '.join(PRECISIONS)}. "
            f"Received: precision={precision!r}"
        )
    dropless = dataclasses.replace(model.config, capacity_factor=None)
    served = build(dropless, "float32" if precision == "int8" else precision)
    trained = weights_by_path(model)
    for path, weight in weights_by_path(served).items():
        weight.assign(tf.cast(trained[path], weight.dtype))
    return served
