"""What makes a run, field by field, and whether a checkpoint is of it."""

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
    """Names the fields that both have and that differ; an empty str if none.

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
    """Whether all fields are equal that both have; versions may add some.

    Where both have the `.sha256` of what a field names, that counts, and the
    name itself does not.

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
    """Values as they are after being written and read: tuples are lists."""
    return json.loads(json.dumps(values))
