"""Checkpoints of another configuration are told from those of the run."""

import pytest
from small_checkpoints import restore, small_checkpoints, small_stack

from trainers.engine.checkpoints.best import load_best
from trainers.engine.checkpoints.files import CheckpointError


def test_differing_fields_of_another_configuration_are_named(tmp_path):
    here = {"model.depth": 4, "moe_after": (1, 2), "pair": "en-fr"}
    checkpoints = small_checkpoints(tmp_path, identity=here)
    checkpoints.save(1)
    checkpoints.save_best(1, 1.0, True)
    assert restore(small_checkpoints(tmp_path, identity=here))
    there = {**here, "model.depth": 8, "moe_after": ()}
    message = (
        r"model.depth \(there 4, now 8\), "
        r"moe_after \(there \[1, 2\], now \[\]\)."
    )
    with pytest.raises(CheckpointError, match=message):
        restore(small_checkpoints(tmp_path, identity=there))
    with pytest.raises(CheckpointError, match=message):
        load_best(tmp_path, small_stack(0)[0], there)
