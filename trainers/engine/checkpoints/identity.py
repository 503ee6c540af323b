"""Compares what makes a run, field by field, with that of a checkpoint."""

import json

from trainers.engine.checkpoints.files import CheckpointError


def check_identity(stored, identity):
    """Refuses a checkpoint of another configuration.

    Args:
        stored: `Stored`.
        identity: dict, field by field. Fields that only one of them has were
            added by a later version and are passed over.

    Raises:
        CheckpointError: naming the fields that differ.
    """
    differing = differences(stored.about["identity"], as_json(identity))
    if differing:
        raise CheckpointError(
            f"{stored.path} is a checkpoint of another configuration: "
            f"{differing}."
        )


def differences(there, here):
    """Names the shared fields that differ; an empty str if none does.

    Example:

    >>> differences({"depth": 4, "old": 1}, {"depth": 8, "new": 2})
    'depth (there 4, now 8)'
    """
    return ", ".join(
        f"{name} (there {there[name]!r}, now {here[name]!r})"
        for name in sorted({*there} & {*here})
        if there[name] != here[name]
    )


def agree(fields, others):
    """Whether the shared fields agree; versions may add some.

    If both have the `.sha256` of what a field names, these are compared, and
    the names are not.

    Example:

    >>> agree({"dev": "a", "beam": 5}, {"dev": "a", "prune": None})
    True
    >>> there = {"dev": "a", "dev.sha256": "01"}
    >>> agree(there, {"dev": "moved/a", "dev.sha256": "01"})
    True
    >>> agree(there, {"dev": "a", "dev.sha256": "23"})
    False
    """
    common = {*fields} & {*others}
    return all(
        fields[name] == others[name]
        for name in common
        if f"{name}.sha256" not in common
    )


def as_json(values):
    """Converts values to what JSON gives back: tuples become lists."""
    return json.loads(json.dumps(values))
