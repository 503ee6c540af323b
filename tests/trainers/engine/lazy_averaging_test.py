"""The average of experts that rest, against that of all in every step."""

import dataclasses

import numpy as np
import pytest
import small_training
import tensorflow as tf

from trainers.engine import lazy_averaging
from trainers.engine.averaging import MovingAverage
from trainers.engine.lazy_averaging import LazyMovingAverage
from trainers.engine.loop import Loop
from trainers.engine.optimizer import FusedAdam

LAZY = FusedAdam(lazy=True)
EXPERTS, DEPTH = 7, 3


class Walk:
    """Weights that move, some experts in a step, and all of another."""

    def __init__(self):
        self.random = np.random.default_rng(3)
        self.experts = tf.Variable(self.draw(EXPERTS, DEPTH, 2))
        self.dense = tf.Variable(self.draw(4))
        self.scale = tf.Variable(1.0)
        self.weights = [self.experts, self.dense, self.scale]

    def draw(self, *shape):
        return self.random.normal(size=shape).astype("float32")

    def step(self, averages):
        """Takes a step, of which lazy averages are told before."""
        busy = self.random.choice(EXPERTS, self.random.integers(0, 3))
        shape = self.experts.shape
        slices = tf.zeros((len(busy), *shape[1:]))
        gradients = [
            tf.IndexedSlices(slices, tf.constant(busy, tf.int64), shape),
            tf.zeros(4),
            tf.constant(0.0),
        ]
        for average in averages:
            average.before_step(LAZY, gradients)
        for expert in busy:
            moved = self.experts[expert] + self.draw(DEPTH, 2)
            self.experts.scatter_nd_update([[expert]], [moved])
        self.dense.assign_add(self.draw(4))
        self.scale.assign_add(1.0)


@pytest.mark.parametrize("every", [1, 3])
def test_average_is_that_of_all_weights_in_every_step(every):
    walk = Walk()
    lazy = LazyMovingAverage(walk.weights, 0.8, every)
    whole = MovingAverage(walk.weights, 0.8, every)
    for step in range(1, 61):
        walk.step([lazy, whole])
        if step % every == 0:
            lazy.update()
            whole.update()
        if step == 31:  # between two updates, where weights have moved
            with lazy.swapped_in():
                pass
    with lazy.swapped_in():
        shown = [weight.numpy() for weight in walk.weights]
    for one, other in zip(shown, whole.averages, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_update_does_not_touch_experts_that_rest():
    walk = Walk()
    lazy = LazyMovingAverage(walk.weights, 0.8, every=1)
    walk.step([lazy])
    lazy.averages[0].assign(tf.fill(walk.experts.shape, np.nan))
    lazy.update()
    assert np.isnan(lazy.averages[0]).all()  # a pass would have to read it
    assert not np.isnan(lazy.averages[1]).any()


def test_what_is_right_stays_bit_for_bit():
    walk = Walk()
    lazy = LazyMovingAverage(walk.weights, 0.8, every=1)
    for _ in range(5):
        walk.step([lazy])
        lazy.update()
    shown = []
    for _ in range(2):
        with lazy.swapped_in():
            shown.append([weight.numpy() for weight in walk.weights])
    for one, other in zip(*shown, strict=True):
        np.testing.assert_array_equal(one, other)


def test_dense_gradients_are_averaged_as_ever():
    weight = tf.Variable([[1.0], [2.0]])
    lazy = LazyMovingAverage([weight], 0.5, every=1)
    whole = MovingAverage([weight], 0.5, every=1)
    for value in (3.0, 5.0):
        lazy.before_step(LAZY, [tf.ones((2, 1))])
        weight.assign_add([[value], [0.0]])
        lazy.update()
        whole.update()
        np.testing.assert_allclose(lazy.averages[0], whole.averages[0])


def train(folder, steps=24):
    """A run with a lazy optimizer: its loop, and the weights to evaluate."""
    config = dataclasses.replace(
        small_training.CONFIG,
        steps=steps,
        evaluate_every=24,
        optimizer="lazy_factored_adam",
        schedule="constant",
    )
    task = small_training.small_task()
    loop = Loop(task, config, folder, log=lambda line: None)
    loop.resume()
    loop.run()
    with loop.average.swapped_in():
        return loop, [v.numpy() for v in loop.model.trainable_variables]


def test_training_has_the_average_of_all_weights(tmp_path, monkeypatch):
    loop, lazy = train(tmp_path / "lazy")
    assert any(loop.average._rests) and not all(loop.average._rests)
    monkeypatch.setattr(lazy_averaging, "moves_slices_alone", lambda *_: False)
    loop, whole = train(tmp_path / "whole")
    assert not any(loop.average._rests)
    for one, other in zip(lazy, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_resumed_run_has_the_same_average_bit_for_bit(tmp_path):
    _, expected = train(tmp_path / "whole")
    train(tmp_path / "halves", steps=15)  # amid two updates
    _, found = train(tmp_path / "halves")
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)
