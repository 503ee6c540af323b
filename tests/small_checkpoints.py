"""Checkpoints of a small model, and how they are damaged."""

import keras
import numpy as np

from trainers.engine.checkpoints.recent import Checkpoints


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


def small_stack(seed):
    """A built `Stack` and its built optimizer."""
    keras.utils.set_random_seed(seed)
    model = Stack()
    model(np.ones((1, 3), "float32"), training=True)
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    return model, optimizer


def small_checkpoints(folder, seed=0, keep=1, keep_best=1, **kwargs):
    return Checkpoints(folder, keep, keep_best, *small_stack(seed), **kwargs)


def tear(stored):
    """Cuts the largest file of a checkpoint."""
    file = max(stored.path.iterdir(), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-1])


def restore(checkpoints):
    """Finds and loads the last whole state; None if nothing was saved."""
    name = checkpoints.find()
    return None if name is None else checkpoints.load(name)
