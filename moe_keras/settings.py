"""Settings that are given as text: `NAME=VALUE`."""

import ast
import math
import types

# What a setting of a type takes, in words.
_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    tuple: "whole numbers with commas between",
    tuple[str, ...]: "words with commas between",
}


def split_setting(text):
    """Splits `NAME=VALUE`, without the spaces around each.

    Args:
        text: str.

    Returns:
        `(name, value)`, both str. The value is None where there is no `=`.

    Example:

    >>> split_setting("jitter = 1e-2"), split_setting("jitter")
    (('jitter', '1e-2'), ('jitter', None))
    """
    name, sign, value = text.partition("=")
    return name.strip(), value.strip() if sign else None


def read_value(name, text, kinds):
    """Reads the value of a setting.

    Args:
        name: str, for the error: what takes the value.
        text: str.
        kinds: Sequence of the types that it takes: one of int, float (finite),
            bool, str, tuple (of whole numbers) and `tuple[str, ...]`, and
            `NoneType` if None is a value as well.

    Returns:
        A value of one of these types.

    Raises:
        ValueError: If the text is no such value.

    Example:

    >>> read_value("`k_max`", "3", (int,)), read_value("`mass`", "3", (float,))
    (3, 3.0)
    >>> read_value("`k_max`", "2.5", (int, types.NoneType))
    Traceback (most recent call last):
    ...
    ValueError: `k_max` takes a whole number, or None. Received: '2.5'
    """
    takes_none = types.NoneType in kinds
    if takes_none and text == "None":
        return None
    kind = next(kind for kind in kinds if kind is not types.NoneType)
    value = text if kind is str else _read(kind, text)
    if value is None:
        raise ValueError(
            f"{name} takes {_KINDS[kind]}{', or None' if takes_none else ''}. "
            f"Received: {text!r}"
        )
    return value


def _read(kind, text):
    """Returns a value of the type, or None where the text is none."""
    if kind == tuple[str, ...]:
        return _words(text)
    try:
        value = float(text) if kind is float else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is tuple:
        values = value if isinstance(value, tuple) else (value,)
        return values if all(type(x) is int for x in values) else None
    return value if type(value) is kind else None


def _words(text):
    """Reads `a,b`, also as a tuple is printed: `('a', 'b')`."""
    words = [word.strip(" ()'\"") for word in text.split(",")]
    if words[-1] == "" and len(words) > 1:  # a tuple of one ends so
        words.pop()
    return tuple(words) if all(words) else None
