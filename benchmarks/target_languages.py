"""Into which languages the benchmarks of a served translator ask.

A model of several languages has the input `target_language`. Each text is
asked for in a language of its own, which its bytes decide: alone and in any
batch it is the same. One text in `ODD_EVERY` asks for a language that the
model does not write, where odd ones are wanted.
"""

import json
import pathlib
import zlib

import tensorflow as tf

INPUT = "target_language"
CARD = "assets.extra/card.json"
TEXTS = ("inputs", "sources")  # names of the input with the texts

# Languages that no model writes, or not by this name.
ODD_LANGUAGES = ("xx", "<2fr>", " ", "\x00", "日本語", "f" * 300, b"\xff")
ODD_EVERY = 16


def languages_of(path, signatures):
    """The languages to ask for: those on the card, or none.

    Args:
        path: `pathlib.Path` of a version.
        signatures: dict of its functions by name.

    Returns:
        List of str, empty for a model of one target language.
    """
    _, inputs = signatures["serving_default"].structured_input_signature
    if INPUT not in inputs:
        return []
    card = json.loads((pathlib.Path(path) / CARD).read_text("utf-8"))
    return card["target_languages"]


def language_for(text, languages):
    """The language that a text, str or bytes, is asked for in."""
    return languages[_number(text) % len(languages)]


def odd_language_for(text, languages):
    """Likewise; for one text in `ODD_EVERY` it is one of `ODD_LANGUAGES`."""
    number = _number(text)
    if number % ODD_EVERY:
        return language_for(text, languages)
    return ODD_LANGUAGES[number // ODD_EVERY % len(ODD_LANGUAGES)]


def is_odd(text):
    """Whether `odd_language_for` asks for a language that is not there."""
    return _number(text) % ODD_EVERY == 0


def asking(function, languages, choose=language_for):
    """The same function, asked for a language for each text.

    Args:
        function: A function of a SavedModel, with inputs by name.
        languages: List of str. Without any, the function is as it was.
        choose: Function of a text and `languages`.

    Returns:
        A function of the same inputs but `target_language`.
    """
    if not languages:
        return function

    def asked(**inputs):
        (texts,) = (inputs[name] for name in TEXTS if name in inputs)
        chosen = [choose(text, languages) for text in texts.numpy().tolist()]
        language = {INPUT: tf.constant(chosen, tf.string)}
        return function(**inputs | language)

    return asked


def _number(text):
    return zlib.crc32(text if isinstance(text, bytes) else text.encode())
