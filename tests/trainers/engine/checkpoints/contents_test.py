"""What a checkpoint holds, and a model that it does not fit."""

import numpy as np
import pytest
import tensorflow as tf
from small_checkpoints import Stack, restore, small_checkpoints, small_stack

from trainers.engine.checkpoints.best import BestScore, load_best
from trainers.engine.checkpoints.contents import weights_by_path
from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.checkpoints.recent import Checkpoints


def test_layers_in_lists_are_restored(tmp_path):
    model, optimizer = small_stack(0)
    Checkpoints(tmp_path, 1, 1, model, optimizer).save_best(1, 0.5, True)
    other, _ = small_stack(1)
    load_best(tmp_path, other)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_random_states_and_moments_are_restored(tmp_path):
    model, optimizer = small_stack(0)
    gradients = [0.1 * v.value for v in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    Checkpoints(tmp_path, 1, 1, model, optimizer).save(7)
    other, other_optimizer = small_stack(1)
    restored = restore(Checkpoints(tmp_path, 1, 1, other, other_optimizer))
    assert restored == (7, True)
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(
        optimizer.variables, other_optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_model_of_other_weights_is_refused_in_one_line(tmp_path):
    small_checkpoints(tmp_path).save_best(1, 1.0, True)
    other = Stack(names=("one", "three"))
    other(np.ones((1, 3), "float32"))
    with pytest.raises(CheckpointError, match="no stack/bias, stack/k") as e:
        load_best(tmp_path, other)
    wider = Stack()
    wider(np.ones((1, 5), "float32"))
    with pytest.raises(CheckpointError, match="does not fit this model") as f:
        load_best(tmp_path, wider)
    assert "\n" not in str(e.value) + str(f.value)


def test_two_weights_of_one_name_are_refused():
    model = Stack(names=("same", "same"))
    model(np.ones((1, 3), "float32"))
    with pytest.raises(ValueError, match="have the path 'same/kernel'"):
        weights_by_path(model)


class FormerBest(tf.Module):
    """What a checkpoint of an earlier version has of the best score."""

    def __init__(self):
        super().__init__(name="best_score")
        self.score = tf.Variable(4.0, dtype=tf.float64)
        self.evaluations_since = tf.Variable(2, dtype=tf.int64)


def test_checkpoint_without_the_perplexity_of_the_best_is_read(tmp_path):
    small_checkpoints(tmp_path, best=FormerBest()).save(7)
    best = BestScore()
    restored = restore(small_checkpoints(tmp_path, best=best))
    assert restored == (7, True)
    assert (float(best.score), int(best.evaluations_since)) == (4.0, 2)
    assert best.add(4.0, perplexity=9.0)
