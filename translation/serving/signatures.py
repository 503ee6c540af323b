"""Names and inputs of the signatures of a SavedModel.

Each is a method of `ServedTranslator`; outputs are in its docstrings, and all
of it is in `docs/serving.md`.
"""

import functools

import tensorflow as tf

from translation.serving.served_model import TEXT_SIGNATURES

_STRINGS = functools.partial(tf.TensorSpec, [None], tf.string)
_INTEGERS = functools.partial(tf.TensorSpec, [None], tf.int32)
_FLOATS = functools.partial(tf.TensorSpec, [None], tf.float32)

_INPUTS = [_STRINGS("inputs")]
_OPTIONS = [
    _INTEGERS("beam_width"),
    _FLOATS("length_penalty"),
    _FLOATS("coverage_penalty"),
]
_LANGUAGE = [_STRINGS("target_language")]
_CONSTRAINTS = [
    _STRINGS("prefix"),
    _INTEGERS("min_length"),
    _INTEGERS("no_repeat_ngram_size"),
]
_SAMPLING = [
    _FLOATS("temperature"),
    _INTEGERS("top_k"),
    _FLOATS("top_p"),
    _INTEGERS("seed"),
]

# Name of the signature: name of the method, and its inputs in order. These are
# of a model that writes one language.
SIGNATURES = {
    "serving_default": ("translate", _INPUTS),
    "translate_nbest": ("translate_nbest", _INPUTS),
    "translate_with_options": (
        "translate_with_options",
        _INPUTS + _OPTIONS + _LANGUAGE,
    ),
    "translate_constrained": (
        "translate_constrained",
        _INPUTS + _OPTIONS + _LANGUAGE + _CONSTRAINTS,
    ),
    "sample": ("sample", _INPUTS + _SAMPLING + _LANGUAGE + _CONSTRAINTS),
    "routing": ("routing", _INPUTS),
    "score": ("score", [_STRINGS("sources"), _STRINGS("targets")]),
    **TEXT_SIGNATURES,
}

# Of a model that writes several: each translation asks for its language, which
# comes last because it may be left out.
MULTILINGUAL_SIGNATURES = {
    name: (
        method,
        specs
        if name in TEXT_SIGNATURES
        else [spec for spec in specs if spec not in _LANGUAGE] + _LANGUAGE,
    )
    for name, (method, specs) in SIGNATURES.items()
}
# The first of the languages stands for the empty one.
DEFAULTS = {"target_language": [""]}
