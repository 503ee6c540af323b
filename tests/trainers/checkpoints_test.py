"""What a checkpoint holds."""

import keras
import numpy as np
import pytest

from trainers.checkpoint_files import CheckpointError
from trainers.checkpoints import (
    Checkpoints,
    best_folder,
    load_best,
    training_folder,
    weights_by_path,
)


class Stack(keras.Model):
    """Layers in a list, which TensorFlow's object graph does not see."""

    def __init__(self, names=("one", "two")):
        super().__init__(name="stack")
        self.blocks = [keras.layers.Dense(3, name=name) for name in names]
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, inputs, training=False):
        for block in self.blocks:
            inputs = block(inputs)
        return self.dropout(inputs, training=training)


def _stack(seed):
    keras.utils.set_random_seed(seed)
    model = Stack()
    model(np.ones((1, 3), "float32"), training=True)
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    return model, optimizer


def _checkpoints(folder, seed=0, keep=1, keep_best=1, **kwargs):
    return Checkpoints(folder, keep, keep_best, *_stack(seed), **kwargs)


def _tear(stored):
    """Cuts the largest file of a checkpoint."""
    file = max(stored.path.iterdir(), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1])


def _scores(folder):
    stored = best_folder(folder).stored()
    return {each.step: each.about["score"] for each in stored}


def test_layers_in_lists_are_restored(tmp_path):
    model, optimizer = _stack(0)
    Checkpoints(tmp_path, 1, 1, model, optimizer).save_best(1, 0.5, True)
    other, _ = _stack(1)
    load_best(tmp_path, other)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_random_states_and_moments_are_restored(tmp_path):
    model, optimizer = _stack(0)
    gradients = [0.1 * v.value for v in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    Checkpoints(tmp_path, 1, 1, model, optimizer).save(7)
    other, other_optimizer = _stack(1)
    restored = Checkpoints(tmp_path, 1, 1, other, other_optimizer).restore()
    assert restored == (7, True)
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(
        optimizer.variables, other_optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_lower_score_does_not_replace_the_best(tmp_path):
    checkpoints = _checkpoints(tmp_path)
    checkpoints.save_best(1, 5.0, True)
    checkpoints.save_best(2, 4.0, False)
    assert _scores(tmp_path) == {1: 5.0}


def test_the_best_few_are_kept(tmp_path):
    checkpoints = _checkpoints(tmp_path, keep_best=2)
    best = -1.0
    kept = []
    for step, score in enumerate((3.0, 1.0, 2.0, 2.0, 4.0, 0.0)):
        checkpoints.save_best(step, score, score > best)
        best = max(best, score)
        kept.append(set(_scores(tmp_path)))
    assert kept == [{0}, {0, 1}, {0, 2}, {0, 2}, {0, 4}, {0, 4}]


def test_step_that_is_reached_again_is_kept_once(tmp_path):
    checkpoints = _checkpoints(tmp_path, keep_best=3)
    for step, score in ((1, 3.0), (2, 5.0), (2, 5.0)):
        checkpoints.save_best(step, score, True)
    assert _scores(tmp_path) == {1: 3.0, 2: 5.0}
    assert len(best_folder(tmp_path).stored()) == 2


def test_scores_of_another_measure_give_way(tmp_path):
    old = _checkpoints(tmp_path, keep_best=2, measure={"dev": "a"})
    old.save_best(1, 50.0, True)
    old.save_best(2, 60.0, True)
    new = _checkpoints(tmp_path, keep_best=2, measure={"dev": "b"})
    new.save_best(2, 10.0, True)
    assert _scores(tmp_path) == {2: 10.0}


def test_best_that_is_torn_gives_way_to_the_next(tmp_path):
    checkpoints = _checkpoints(tmp_path, keep_best=2)
    checkpoints.save_best(1, 5.0, True)
    checkpoints.save_best(2, 4.0, False)
    model, _ = _stack(1)
    assert load_best(tmp_path, model).name == "step-1"
    _tear(best_folder(tmp_path).stored()[0])
    assert load_best(tmp_path, model).name == "step-2"
    _tear(best_folder(tmp_path).stored()[1])
    with pytest.raises(CheckpointError, match="step-1/ckpt.* is torn"):
        load_best(tmp_path, model)


def test_torn_state_is_named_set_aside_and_the_one_before_it_taken(tmp_path):
    checkpoints = _checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step)
    for stored in training_folder(tmp_path).stored()[1:]:
        _tear(stored)
    lines = []
    again = _checkpoints(tmp_path, keep=1, log=lines.append)
    assert again.restore() == (1, True)
    assert ["step-3/" in line for line in lines] == [True, False]
    assert ["step-2/" in line for line in lines] == [False, True]
    # What is saved now must not be taken for older than what was torn.
    again.save(2)
    assert again.restore() == (2, True)


def test_nothing_whole_is_no_reason_to_start_from_nothing(tmp_path):
    checkpoints = _checkpoints(tmp_path)
    checkpoints.save(1)
    _tear(training_folder(tmp_path).stored()[0])
    for _ in range(2):
        with pytest.raises(CheckpointError, match="is whole: .*Move the fold"):
            checkpoints.restore()


def test_nothing_saved_is_told(tmp_path):
    assert _checkpoints(tmp_path).restore() is None
    assert load_best(tmp_path, _stack(0)[0]) is None


def test_differing_fields_of_another_configuration_are_named(tmp_path):
    here = {"model.depth": 4, "moe_after": (1, 2), "pair": "en-fr"}
    checkpoints = _checkpoints(tmp_path, identity=here)
    checkpoints.save(1)
    checkpoints.save_best(1, 1.0, True)
    assert _checkpoints(tmp_path, identity=here).restore()
    there = {**here, "model.depth": 8, "moe_after": ()}
    message = (
        r"model.depth \(there 4, now 8\), "
        r"moe_after \(there \[1, 2\], now \[\]\)."
    )
    with pytest.raises(CheckpointError, match=message):
        _checkpoints(tmp_path, identity=there).restore()
    with pytest.raises(CheckpointError, match=message):
        load_best(tmp_path, _stack(0)[0], there)


def test_model_of_other_weights_is_refused_in_one_line(tmp_path):
    _checkpoints(tmp_path).save_best(1, 1.0, True)
    other = Stack(names=("one", "three"))
    other(np.ones((1, 3), "float32"))
    with pytest.raises(CheckpointError, match="no stack/bias, stack/k") as e:
        load_best(tmp_path, other)
    wider = Stack()
    wider(np.ones((1, 5), "float32"))
    with pytest.raises(CheckpointError, match="does not fit this model") as f:
        load_best(tmp_path, wider)
    assert "\n" not in str(e.value) + str(f.value)


def test_folder_may_move(tmp_path):
    model, optimizer = _stack(0)
    Checkpoints(tmp_path / "here", 1, 1, model, optimizer).save(7)
    (tmp_path / "here").rename(tmp_path / "there")
    restored = _checkpoints(tmp_path / "there", seed=1).restore()
    assert restored == (7, True)


def test_two_weights_of_one_name_are_refused():
    model = Stack(names=("same", "same"))
    model(np.ones((1, 3), "float32"))
    with pytest.raises(ValueError, match="have the path 'same/kernel'"):
        weights_by_path(model)
