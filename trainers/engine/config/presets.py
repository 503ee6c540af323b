"""A configuration by the name of a preset, with changes."""

from trainers.engine.config.overrides import with_overrides


def preset_named(presets, name, overrides=()):
    """Changes fields of a named preset.

    Args:
        presets: dict of configurations by name.
        name: str.
        overrides: List of `"field=value"`, see `with_overrides`.

    Returns:
        A configuration.

    Raises:
        ValueError: if there is no such preset, listing those that there are;
            or for an unknown field or a value that does not fit it.

    Example:

    >>> from trainers.engine.config.loop_config import LoopConfig
    >>> presets = {"short": LoopConfig(steps=10), "long": LoopConfig()}
    >>> preset_named(presets, "short", ["seed=3"]).seed
    3
    """
    if name not in presets:
        raise ValueError(
            f"Unknown preset {name!r}. Known: {', '.join(presets)}"
        )
    return with_overrides(presets[name], overrides)
