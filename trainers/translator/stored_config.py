"""The configuration that a `config.json` holds, also of earlier versions."""

import dataclasses

from trainers.engine.overrides import field_types
from trainers.translator.presets import NmtConfig

# Fields of earlier versions: some are passed over only where they were not
# used, those of verdicts always, for no model depends on them.
_FORMER_IF_EMPTY = ("subword_sampling",)
_FORMER = ("dip_spread", "fall_windows", "horizon")
# What earlier versions did where a field is missing that has another default.
_BEFORE = {"normalization": "none"}


def config_of(values):
    """The configuration that a file holds.

    Fields that an older version lacked have their defaults, or what it did.

    Args:
        values: What JSON has: a nest of dicts, as `dataclasses.asdict` makes.

    Returns:
        `NmtConfig`.

    Raises:
        ValueError: if it is none, or of a version with other fields.

    Example:

    >>> config = config_of({"pair": "en-de", "search": {"beam_width": 3}})
    >>> config.pair, config.search.beam_width, config.search.prune
    ('en-de', 3, None)
    """
    if isinstance(values, dict):
        values = {**_BEFORE, **values}
    return _as_dataclass(NmtConfig, values)


def _as_dataclass(kind, values):
    """Rebuilds a nest of frozen dataclasses from a nest of dicts."""
    if not isinstance(values, dict):
        raise ValueError(
            "config.json is no configuration of a model: there must be fields "
            f"of {kind.__name__}. Received: {values!r}"
        )
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    unused = [name for name in _FORMER_IF_EMPTY if not values.get(name)]
    former = {*_FORMER, *unused}
    values = {name: values[name] for name in values if name not in former}
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        raise ValueError(
            f"config.json has fields that this version does not know: "
            f"{', '.join(unknown)}. It was written by another version."
        )
    read = {}
    for name, value in values.items():
        kinds = field_types(kind)[name]
        if dataclasses.is_dataclass(defaults[name]):
            read[name] = _as_dataclass(type(defaults[name]), value)
            continue
        read[name] = tuple(value) if isinstance(value, list) else value
        if not isinstance(
            read[name], (*kinds, int) if float in kinds else kinds
        ):
            raise ValueError(
                f"config.json has a {name} that is none. Received: {value!r}"
            )
    return kind(**read)
