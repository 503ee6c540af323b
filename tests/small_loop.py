"""The training loop on a model small enough to follow."""

import keras
import numpy as np
import tensorflow as tf

from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.loop import Loop
from trainers.engine.task import Task

CONFIG = LoopConfig(
    steps=6,
    warmup_steps=1,
    evaluate_every=3,
    save_every=2,
    log_every=2,
    average_decay=0.0,
)


def line_model():
    keras.utils.set_random_seed(0)
    # Named: a checkpoint knows weights by their layers' names.
    output = keras.layers.Dense(1, name="output")
    return keras.Sequential([keras.Input((2,)), output])


def squared_error(model, batch):
    inputs, targets = batch
    error = model(inputs, training=True)[:, 0] - targets
    return tf.reduce_sum(error**2), tf.cast(tf.size(error), tf.float32)


class Batches(tf.train.experimental.PythonState):
    """Batches told by their numbers; those in `bad` hold a NaN."""

    def __init__(self, bad=(), order=range(1000)):
        self.number, self._bad, self._order = 0, bad, order

    def __iter__(self):
        return self

    def __next__(self):
        number = self._order[self.number]
        random = np.random.default_rng(number)
        inputs = random.normal(size=(5, 2)).astype("float32")
        if number in self._bad:
            inputs[3, 1] = np.nan
        self.number += 1
        return tf.constant(inputs), tf.constant(inputs.sum(1))

    def serialize(self):
        return str(self.number)

    def deserialize(self, text):
        self.number = int(text)


def scores_of(*values):
    values = iter(values)
    return lambda check: {"score": next(values)}


def small_loop(
    config, folder, scores=(1.0, 2.0), log=lambda line: None, **task
):
    values = {
        "model": line_model(),
        "loss": squared_error,
        "batches": Batches(),
        "evaluate": scores_of(*scores),
    }
    loop = Loop(Task(**(values | task)), config, folder, log)
    loop.resume()
    return loop


def run_loop(config, folder, scores=(1.0, 2.0), **task):
    lines = []
    loop = small_loop(config, folder, scores, lines.append, **task)
    loop.run()
    return loop, loop.model, lines


def assert_same_state(loop, other):
    """Everything that a later step depends on, bit for bit."""
    for ours, theirs in (
        (loop.model.variables, other.model.variables),
        (loop.optimizer.variables, other.optimizer.variables),
        (loop.average.averages, other.average.averages),
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
