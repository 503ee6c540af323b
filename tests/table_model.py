"""A translator without training: a table of next subwords."""

import numpy as np
import tensorflow as tf

SENTENCES = ["a small dog", "the dog sleeps", "a cat sees the small dog", "oh"]


class Table(tf.Module):
    """Next subwords from a table, by the last one and the source's first."""

    def __init__(self, vocab_size):
        super().__init__()
        rng = np.random.default_rng(1)
        self.by_last = tf.Variable(
            3 * rng.normal(size=(vocab_size, vocab_size)).astype("float32")
        )
        self.by_source = tf.Variable(
            5 * rng.normal(size=(vocab_size, vocab_size)).astype("float32")
        )

    def encode(self, source_ids):
        return source_ids, tf.zeros(tf.shape(source_ids))

    def step(self, ids, state, memory):
        real = tf.cast(memory > 0, tf.float32)
        alignment = real / tf.reduce_sum(real, axis=1, keepdims=True)
        by_source = tf.gather(self.by_source, memory[:, 0])
        return tf.gather(self.by_last, ids) + by_source, alignment

    def alignment(self, state):
        return state
