"""A graph knows whether XLA compiles it, inside of loops too."""

import tensorflow as tf

from moe_keras.xla import is_compiled_by_xla


def test_it_tells_whether_xla_compiles_the_graph():
    told = []

    def note(x):
        told.append(is_compiled_by_xla())
        return x + 1

    def loop(x):
        return tf.while_loop(lambda x: x < 3.0, note, (x,))

    tf.function(loop, jit_compile=True)(0.0)
    tf.function(loop)(0.0)
    assert told == [True, False]
    assert not is_compiled_by_xla()
