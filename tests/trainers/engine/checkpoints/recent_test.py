"""The way back to the last states of training, when some are damaged."""

import pytest
import tensorflow as tf
from small_checkpoints import restore, small_checkpoints, small_stack, tear

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
    assert restore(again) == (1, True)
    assert ["step-3/" in line for line in lines] == [True, False]
    assert ["step-2/" in line for line in lines] == [False, True]
    # What is saved now must not be taken for older than what was torn.
    again.save(2)
    assert restore(again) == (2, True)


def test_nothing_whole_is_no_reason_to_start_from_nothing(tmp_path):
    checkpoints = small_checkpoints(tmp_path)
    checkpoints.save(1)
    tear(training_folder(tmp_path).stored()[0])
    for _ in range(2):
        with pytest.raises(CheckpointError, match="is whole: .*Move the fold"):
            restore(checkpoints)


def test_nothing_saved_is_told(tmp_path):
    assert restore(small_checkpoints(tmp_path)) is None
    assert load_best(tmp_path, small_stack(0)[0]) is None


def test_untrained_state_goes_when_there_is_a_trained_one(tmp_path):
    checkpoints = small_checkpoints(tmp_path, keep=3)
    kept = []
    for step in (0, 2, 4):
        checkpoints.save(step)
        stored = training_folder(tmp_path).stored()
        kept.append([each.step for each in stored])
    assert kept == [[0], [2], [2, 4]]


# Earlier versions had these fields among those of the identity.
@pytest.mark.parametrize("field", ["batches_identity", "identity"])
def test_other_batches_begin_anew_and_all_else_goes_on(tmp_path, field):
    fields = {"tokens": 64, "length": 9}
    batches, step = tf.Variable(7), tf.Variable(3)
    state = {"batches": batches, "step": step}
    small_checkpoints(tmp_path, **{field: fields}, **state).save(3)
    lines = []
    for now, place in ({"tokens": 64, "new": 1}, 7), ({"tokens": 32}, 0):
        batches.assign(0)
        step.assign(0)
        again = small_checkpoints(
            tmp_path, batches_identity=now, log=lines.append, **state
        )
        assert restore(again) == (3, True)
        assert (int(step), int(batches)) == (3, place)
    (line,) = lines
    assert "tokens (there 64, now 32). They begin anew" in line


def test_folder_may_move(tmp_path):
    model, optimizer = small_stack(0)
    Checkpoints(tmp_path / "here", 1, 1, model, optimizer).save(7)
    (tmp_path / "here").rename(tmp_path / "there")
    restored = restore(small_checkpoints(tmp_path / "there", seed=1))
    assert restored == (7, True)
