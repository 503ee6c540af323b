"""Mesh-TensorFlow, on a TensorFlow that has become younger than it.

Its last version wants two names that TensorFlow has moved since: two base
classes of hooks, which stood in `estimator` and which nothing here calls, and
the function that registers a conversion to tensors. Both are provided while
it is imported, and taken away again.
"""

import contextlib
import importlib
import types

import tensorflow as tf
from tensorflow.python.framework import ops


@contextlib.contextmanager
def _names_of_old():
    v1 = importlib.import_module("tensorflow.compat.v1")
    missing = [
        (
            v1,
            "estimator",
            types.SimpleNamespace(
                CheckpointSaverListener=v1.train.CheckpointSaverListener,
                SessionRunHook=v1.train.SessionRunHook,
            ),
        ),
        (
            ops,
            "register_tensor_conversion_function",
            tf.register_tensor_conversion_function,
        ),
    ]
    missing = [new for new in missing if not hasattr(*new[:2])]
    for module, name, value in missing:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, _ in missing:
            delattr(module, name)


with _names_of_old():
    import mesh_tensorflow as mtf

__all__ = ["mtf"]
