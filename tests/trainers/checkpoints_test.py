"""What a checkpoint holds."""

import keras
import numpy as np
import pytest

from trainers.checkpoints import Checkpoints, load_best, weights_by_path


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


def test_layers_in_lists_are_restored(tmp_path):
    model, optimizer = _stack(0)
    Checkpoints(tmp_path, 1, model, optimizer).save_if_best(1, 0.5)
    other, _ = _stack(1)
    load_best(tmp_path, other)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_random_states_and_moments_are_restored(tmp_path):
    model, optimizer = _stack(0)
    gradients = [0.1 * v.value for v in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    Checkpoints(tmp_path, 1, model, optimizer).save(7)
    other, other_optimizer = _stack(1)
    assert Checkpoints(tmp_path, 1, other, other_optimizer).restore()
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(
        optimizer.variables, other_optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_lower_score_does_not_replace_the_best(tmp_path):
    model, optimizer = _stack(0)
    checkpoints = Checkpoints(tmp_path, 1, model, optimizer)
    assert checkpoints.save_if_best(1, 5.0)
    assert not checkpoints.save_if_best(2, 4.0)
    assert checkpoints.restore_best().endswith("-1")


def test_nothing_saved_is_told(tmp_path):
    model, optimizer = _stack(0)
    checkpoints = Checkpoints(tmp_path, 1, model, optimizer)
    assert not checkpoints.restore()
    assert checkpoints.restore_best() is None


def test_two_weights_of_one_name_are_refused():
    model = Stack(names=("same", "same"))
    model(np.ones((1, 3), "float32"))
    with pytest.raises(ValueError, match="have the path 'same/kernel'"):
        weights_by_path(model)
