"""Arguments of a gate as one text, `"balance_loss_weight=0.02,jitter=0.1"`."""

import ast
import inspect

import keras

# What other fields of a `TranslatorConfig` say.
_OF_OTHER_FIELDS = ("num_experts", "num_groups", "experts_per_group", "k")


def options_of(gate):
    """The arguments of a gate that no field of its own sets.

    Args:
        gate: A class of gates.

    Returns:
        dict of their defaults, by name.

    Example:

    >>> import moe_keras
    >>> options_of(moe_keras.HierarchicalGate)
    {'noise_epsilon': 0.01, 'seed': None}
    """
    options = {}
    for kind in gate.__mro__[: gate.__mro__.index(keras.layers.Layer)]:
        for name, parameter in inspect.signature(
            kind.__init__
        ).parameters.items():
            is_optional = parameter.default is not parameter.empty
            if is_optional and name not in _OF_OTHER_FIELDS:
                options.setdefault(name, parameter.default)
    return options


def parse_options(text, gate):
    """Reads `"name=value,name=value"`.

    Args:
        text: str; empty for no options.
        gate: A class of gates, which has to know them.

    Returns:
        dict of values, by name.

    Raises:
        ValueError: for an argument that the gate does not have, listing those
            that it has, or for a value of another type. Whether a number is
            within its range the gate says when it is made.

    Example:

    >>> import moe_keras
    >>> parse_options("softmax=before,jitter=1e-2", moe_keras.TopKGate)
    {'softmax': 'before', 'jitter': 0.01}
    """
    known, options = options_of(gate), {}
    for part in text.split(",") if text else ():
        name, separator, value = map(str.strip, part.partition("="))
        if not separator or name not in known or name in options:
            listed = (f"{name}={known[name]}" for name in known)
            raise ValueError(
                "`gate_options` takes OPTION=VALUE with commas between, each "
                f"once. Received: {part!r}. Options of {gate.__name__}, with "
                f"their defaults: {', '.join(listed)}"
            )
        options[name] = _value(name, value, known[name])
    return options


def _value(name, text, default):
    """Reads text as a value of the type of the default, or None."""
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, float) and type(value) is int:
        return float(value)
    kind = int if default is None else type(default)
    if value is not None and type(value) is not kind:
        raise ValueError(
            f"`{name}` of `gate_options` takes a {kind.__name__}, as "
            f"{default!r}. Received: {text!r}"
        )
    return value
