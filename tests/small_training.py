"""A training run of seconds that has everything which a resume can lose.

Layers in a list, dropout, gating noise, a shuffle buffer, a moving average.
As a program, `python tests/small_training.py FOLDER STEPS`, it is there to be
killed.
"""

import functools
import sys
import time

import keras
import tensorflow as tf

from moe_keras import SparseMoE
from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.interruption import Interrupted
from trainers.engine.loop import Loop, seed_everything
from trainers.engine.task import Task
from translation.text.input_pipeline import untuned

EVALUATE_EVERY = 4

CONFIG = LoopConfig(
    steps=12,
    warmup_steps=2,
    learning_rate=0.01,
    evaluate_every=EVALUATE_EVERY,
    save_every=3,
    log_every=1,
    average_decay=0.9,
)


class Small(keras.Model):
    """Layers in a list, which TensorFlow's object graph does not see."""

    def __init__(self, **moe):
        super().__init__(name="small")
        self.blocks = [
            keras.layers.Dense(6, activation="tanh", name="dense"),
            keras.layers.Dropout(0.3, name="dropout"),
            SparseMoE(4, hidden_dim=5, name="moe", **{"k": 2, **moe}),
            keras.layers.Dense(1, name="out"),
        ]

    def call(self, inputs, training=False):
        for block in self.blocks:
            takes_training = isinstance(block, keras.layers.Dropout | SparseMoE)
            how = {"training": training} if takes_training else {}
            inputs = block(inputs, **how)
        return inputs[:, 0]


def small_model():
    seed_everything(1)
    model = Small()
    model(tf.zeros((1, 3)))
    return model


def examples(numbers):
    """Inputs `(B, 3)` and targets `(B,)` that a number stands for."""
    inputs = tf.sin(tf.cast(numbers, tf.float32)[:, None] * [1.0, 2.0, 3.0])
    return inputs, tf.reduce_sum(inputs, axis=1)


def batches(size=5):
    """Shuffled; 23 examples an epoch, so that epochs end within batches."""
    numbers = tf.data.Dataset.range(23).shuffle(8, seed=2).repeat()
    return untuned(numbers).batch(size).map(examples).prefetch(2)


def squared_error(model, batch):
    inputs, targets = batch
    error = tf.cast(model(inputs, training=True), tf.float32) - targets
    return tf.reduce_sum(error**2), tf.cast(tf.size(error), tf.float32)


def evaluate(model, check, seconds=0.0):
    for _ in range(10):
        check()
        time.sleep(seconds / 10)
    inputs, targets = examples(tf.range(100, 120))
    error = tf.cast(model(inputs), tf.float32) - targets
    return {"score": -float(tf.reduce_mean(error**2))}


def small_task(seconds=0.0, **changes):
    """A `Task`; `seconds` is how long an evaluation takes."""
    model = small_model()
    values = {
        "model": model,
        "loss": squared_error,
        "batches": batches(),
        "evaluate": functools.partial(evaluate, model, seconds=seconds),
    }
    return Task(**(values | changes))


def main(folder, steps):
    config = LoopConfig(**{**vars(CONFIG), "steps": int(steps)})
    say = functools.partial(print, flush=True)
    loop = Loop(small_task(seconds=0.3), config, folder, say)
    loop.resume()
    try:
        loop.run()
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
