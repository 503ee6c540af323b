"""Configurations in files, and what may change from one run to the next."""

import dataclasses
import typing

from trainers.engine.config.overrides import field_paths, field_types


@dataclasses.dataclass(frozen=True)
class ConfigRules:
    """Rules of one kind of configuration: which fields are fixed or open.

    Fields are named as `--set` names them, `model.depth`; a name that ends
    with a dot stands for all fields below it.

    Example:

    >>> from trainers.engine.config.loop_config import LoopConfig
    >>> rules = ConfigRules(LoopConfig, fixed=("optimizer", "seed"))
    >>> rules.fixed_fields(LoopConfig())
    {'optimizer': 'adam', 'seed': 1}
    """

    kind: type  # the frozen dataclass
    fixed: tuple[str, ...] = ()  # fields that cannot change in one folder
    open: tuple[str, ...] = ()  # fields that a trained model leaves open
    # Fields of earlier versions, by their own names, which are passed over in
    # a file: some always, others only where they are empty or zero.
    former: tuple[str, ...] = ()
    former_if_empty: tuple[str, ...] = ()
    # What earlier versions did where a field of `kind` is missing that has
    # another default: pairs of name and value.
    before: tuple[tuple[str, object], ...] = ()

    def fixed_fields(self, config):
        """Picks the fields that make a run: a dict by dotted name."""
        return fields_of(config, self.fixed)

    def open_fields(self, config):
        """Picks the fields that a trained model leaves open."""
        return fields_of(config, self.open)

    def read(self, values):
        """Makes the configuration that a `config.json` holds.

        Fields that an older version lacked have their defaults, or what it
        did.

        Args:
            values: What JSON has: a nest of dicts, as `dataclasses.asdict`
                makes.

        Returns:
            A value of `kind`.

        Raises:
            ValueError: if it is none, or of a version with other fields.

        Example:

        >>> from trainers.engine.config.loop_config import LoopConfig
        >>> rules = ConfigRules(LoopConfig, former=("momentum",))
        >>> rules.read({"steps": 7, "momentum": 0.9}).steps
        7
        """
        if isinstance(values, dict):
            values = {**dict(self.before), **values}
        return _as_dataclass(self, self.kind, values)


def fields_of(config, names):
    """Picks the fields whose dotted names begin with one of `names`."""
    fields = field_paths(config)
    return {n: fields[n] for n in fields if n.startswith(tuple(names))}


def _as_dataclass(rules, kind, values):
    """Rebuilds a nest of frozen dataclasses from a nest of dicts."""
    if not isinstance(values, dict):
        raise ValueError(
            "config.json is no configuration of a model: there must be fields "
            f"of {kind.__name__}. Received: {values!r}"
        )
    types_of = field_types(kind)
    unused = [name for name in rules.former_if_empty if not values.get(name)]
    former = {*rules.former, *unused}
    values = {name: values[name] for name in values if name not in former}
    unknown = sorted(set(values) - set(types_of))
    if unknown:
        raise ValueError(
            f"config.json has fields that this version does not know: "
            f"{', '.join(unknown)}. It was written by another version."
        )
    read = {}
    for name, value in values.items():
        kinds = [typing.get_origin(kind) or kind for kind in types_of[name]]
        if dataclasses.is_dataclass(kinds[0]):
            read[name] = _as_dataclass(rules, kinds[0], value)
            continue
        read[name] = tuple(value) if isinstance(value, list) else value
        if float in kinds:
            kinds.append(int)
        if not isinstance(read[name], tuple(kinds)):
            raise ValueError(
                f"config.json has a {name} that is none. Received: {value!r}"
            )
    return kind(**read)
