"""Options of a gate as one text, `"balance_loss_weight=0.02,jitter=0.1"`."""

import types

from moe_keras.settings import read_value, split_setting


def parse_options(text, gate):
    """Reads `"name=value,name=value"`.

    Args:
        text: str; empty for no options.
        gate: Class of a gate, see `moe_keras.Router`.

    Returns:
        dict of values, by name.

    Raises:
        ValueError: For an option that the gate does not have, listing those
            that it has, or for a value of another type. Whether a number is in
            its range is checked when the gate is made.

    Example:

    >>> import moe_keras
    >>> parse_options("softmax=before,jitter=1e-2", moe_keras.TopKGate)
    {'softmax': 'before', 'jitter': 0.01}
    """
    known, values = gate.options(), {}
    for setting in text.split(",") if text else ():
        name, value = split_setting(setting)
        if value is None or name not in known or name in values:
            listed = (f"{name}={known[name]}" for name in known)
            raise ValueError(
                "`gate_options` takes OPTION=VALUE with commas between, each "
                f"once. Received: {setting!r}. Options of {gate.__name__}, "
                f"with their defaults: {', '.join(listed)}"
            )
        kinds = (_kind(name, known[name]), types.NoneType)
        values[name] = read_value(f"`{name}` of `gate_options`", value, kinds)
    return values


def _kind(name, default):
    """Returns the type of an option, which a default of None does not tell."""
    if default is not None:
        return type(default)
    return str if name.endswith("_regularizer") else int
