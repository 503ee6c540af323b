"""Fields of a configuration, changed by text as `--set FIELD=VALUE` has it."""

import dataclasses
import types
import typing

from moe_keras.settings import read_value, split_setting


def with_overrides(config, overrides):
    """Changes fields, also those of the nested configs.

    Fields that only go together are changed together, in any order.

    Args:
        config: A frozen dataclass, with frozen dataclasses as fields.
        overrides: List of `"field=value"`; a field of a nested config may be
            named alone (`num_experts=32`) or in full
            (`model.num_experts=32`).

    Returns:
        A new config.

    Raises:
        ValueError: for an unknown field, listing those that there are, or
            for a value that does not fit the field.

    Example:

    >>> from trainers.engine.config.loop_config import LoopConfig
    >>> config = with_overrides(LoopConfig(), ["steps=9", "optimizer=adam"])
    >>> config.steps, config.optimizer
    (9, 'adam')
    """
    paths = field_paths(config)
    by_name = {path.split(".")[-1]: path for path in paths}
    texts = {}
    for override in overrides:
        name, text = split_setting(override)
        path = name if name in paths else by_name.get(name)
        if text is None or path is None:
            raise ValueError(
                f"`--set` takes FIELD=VALUE with a known field. Received: "
                f"{override!r}. Known fields: {', '.join(sorted(by_name))}"
            )
        texts[path] = text
    return _replaced(config, texts)


def field_paths(config, prefix=""):
    """Lists all fields that hold a value, by dotted name.

    >>> from trainers.engine.config.loop_config import LoopConfig
    >>> Config = dataclasses.make_dataclass("Config", ["pair", "loop"])
    >>> field_paths(Config("en-fr", LoopConfig()))["loop.steps"]
    1000
    """
    paths = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            paths |= field_paths(value, f"{prefix}{field.name}.")
        else:
            paths[f"{prefix}{field.name}"] = value
    return paths


def show_fields(config, log):
    """Shows all fields of a configuration, a line each.

    Args:
        config: Dataclass.
        log: Function of one line of text.
    """
    log("Configuration (change a field with --set FIELD=VALUE):")
    for path, value in field_paths(config).items():
        log(f"  {path} = {value!r}")


def field_types(config):
    """Lists the types that each field takes, by name.

    A tuple of words stands as it is declared, any other without its elements.

    Args:
        config: Dataclass, or a value of it.

    >>> fields = [("prune", float | None), ("layers", tuple[str, ...])]
    >>> types = field_types(dataclasses.make_dataclass("Config", fields))
    >>> types["prune"], types["layers"]
    ((<class 'float'>, <class 'NoneType'>), (tuple[str, ...],))
    """
    kind = config if isinstance(config, type) else type(config)
    hints = typing.get_type_hints(kind)
    return {name: _types_of(hint) for name, hint in hints.items()}


def _types_of(hint):
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint if hint == tuple[str, ...] else origin or hint,)


def _replaced(config, texts, prefix=""):
    """Changes the fields that `texts` has, by dotted name."""
    changed = {}
    for name, kinds in field_types(config).items():
        value, path = getattr(config, name), prefix + name
        if path in texts:
            changed[name] = read_value(f"`{name}`", texts[path], kinds)
        elif any(text.startswith(f"{path}.") for text in texts):
            changed[name] = _replaced(value, texts, f"{path}.")
    return dataclasses.replace(config, **changed)
