"""The way back to the last states of training, when some are damaged."""

import pytest
from small_checkpoints import small_checkpoints, small_stack, tear

from trainers.engine.checkpoints.best import load_best
from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.checkpoints.recent import Checkpoints, training_folder


def test_torn_state_is_named_set_aside_and_the_one_before_it_taken(tmp_path):
    checkpoints = small_checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step)
    for stored in training_folder(tmp_path).stored()[1:]:
        tear(stored)
    lines = []
    again = small_checkpoints(tmp_path, keep=1, log=lines.append)
    assert again.restore() == (1, True)
    assert ["step-3/" in line for line in lines] == [True, False]
    assert ["step-2/" in line for line in lines] == [False, True]
    # What is saved now must not be taken for older than what was torn.
    again.save(2)
    assert again.restore() == (2, True)


def test_nothing_whole_is_no_reason_to_start_from_nothing(tmp_path):
    checkpoints = small_checkpoints(tmp_path)
    checkpoints.save(1)
    tear(training_folder(tmp_path).stored()[0])
    for _ in range(2):
        with pytest.raises(CheckpointError, match="is whole: .*Move the fold"):
            checkpoints.restore()


def test_nothing_saved_is_told(tmp_path):
    assert small_checkpoints(tmp_path).restore() is None
    assert load_best(tmp_path, small_stack(0)[0]) is None


def test_folder_may_move(tmp_path):
    model, optimizer = small_stack(0)
    Checkpoints(tmp_path / "here", 1, 1, model, optimizer).save(7)
    (tmp_path / "here").rename(tmp_path / "there")
    restored = small_checkpoints(tmp_path / "there", seed=1).restore()
    assert restored == (7, True)
