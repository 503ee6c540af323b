"""Names and inputs of the signatures of a language model's SavedModel.

Each is a method of `ServedLanguageModel`; outputs are in its docstrings, and
all of it is in `docs/language_model.md`.
"""

import functools

import tensorflow as tf

from translation.serving.served_model import TEXT_SIGNATURES

_STRINGS = functools.partial(tf.TensorSpec, [None], tf.string)
_INTEGERS = functools.partial(tf.TensorSpec, [None], tf.int32)
_FLOATS = functools.partial(tf.TensorSpec, [None], tf.float32)

_INPUTS = [_STRINGS("inputs")]

# Name of the signature: name of the method, and its inputs in order.
SIGNATURES = {
    "serving_default": ("generate", _INPUTS),
    "generate_with_options": (
        "generate_with_options",
        [
            *_INPUTS,
            _FLOATS("temperature"),
            _INTEGERS("top_k"),
            _FLOATS("top_p"),
            _INTEGERS("max_tokens"),
            _INTEGERS("seed"),
        ],
    ),
    "score": ("score", _INPUTS),
    "routing": ("routing", _INPUTS),
    **TEXT_SIGNATURES,
}
