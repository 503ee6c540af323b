"""The mean of several checkpoints."""

import keras
import numpy as np
import pytest

from trainers.engine.checkpoints.average import average_checkpoints
from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.checkpoints.recent import Checkpoints, training_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Weights of 1, 2, 4 and 8 after so many steps; 4 and 1 scored best."""
    folder = tmp_path_factory.mktemp("run")
    model = _model()
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(folder, 3, 2, model, optimizer)
    for step, score in ((1, 5.0), (2, 3.0), (4, 7.0), (8, 4.0)):
        for weight in model.weights:
            weight.assign(np.full(weight.shape, float(step)))
        checkpoints.save(step)
        checkpoints.save_best(step, score, score in (5.0, 7.0))
    return folder


def _model():
    layers = [keras.Input((2,)), keras.layers.Dense(3, name="out")]
    return keras.Sequential(layers, name="model")


@pytest.mark.parametrize(
    "which, steps",
    [
        ("last", [2, 4, 8]),
        ("last:2", [4, 8]),
        ("best", [1, 4]),
        ("best:2", [1, 4]),
        ("best:1", [4]),
    ],
)
def test_weights_are_the_mean_of_those_that_were_asked_for(run, which, steps):
    model = _model()
    used = average_checkpoints(run, model, which)
    assert sorted(stored.step for stored in used) == steps
    for weight in model.weights:
        np.testing.assert_allclose(weight.numpy(), np.mean(steps), rtol=1e-6)


def test_more_than_there_are_names_the_field_that_keeps_more(run):
    with pytest.raises(CheckpointError, match="best has 2 .* 3.*keep_best"):
        average_checkpoints(run, _model(), "best:3")
    with pytest.raises(CheckpointError, match="has 3 .*keep_checkpoints"):
        average_checkpoints(run, _model(), "last:9")


def test_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has 0 checkpoints"):
        average_checkpoints(tmp_path, _model())


@pytest.mark.parametrize("which", ["first", "last:0", "last:x", "last:-1", ""])
def test_other_words_are_refused(run, which):
    with pytest.raises(ValueError, match="best or last"):
        average_checkpoints(run, _model(), which)


def test_checkpoint_of_another_configuration_is_refused(tmp_path):
    model = _model()
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    here = {"model.depth": 3}
    Checkpoints(tmp_path, 1, 1, model, optimizer, here).save(1)
    assert average_checkpoints(tmp_path, model, "last", here)
    with pytest.raises(CheckpointError, match=r"model.depth \(there 3, now 4"):
        average_checkpoints(tmp_path, model, "last", {"model.depth": 4})


def test_damaged_one_is_not_left_out_in_silence(run):
    stored = training_folder(run).stored()[-1]
    (stored.path / "ckpt.index").unlink()
    with pytest.raises(CheckpointError, match="ckpt.index is missing"):
        average_checkpoints(run, _model(), "last")
    assert average_checkpoints(run, _model(), "best")
