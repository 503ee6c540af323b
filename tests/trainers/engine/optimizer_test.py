"""The fused Adam against Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.engine.optimizer import FusedAdam
from trainers.engine.schedules import Schedule


def test_twenty_steps_equal_keras_adam():
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 4)).astype("float32")
    weights = []
    for kind in (keras.optimizers.Adam, FusedAdam):
        gradients = np.random.default_rng(1)
        optimizer = kind(Schedule("inverse_sqrt", 0.1, 5), beta_2=0.98)
        variable = keras.Variable(start)
        for _ in range(20):
            gradient = gradients.normal(size=(3, 4)).astype("float32")
            optimizer.apply([tf.constant(gradient)], [variable])
        weights.append(variable.numpy())
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_works_in_a_function_and_counts_its_steps():
    optimizer = FusedAdam(0.1)
    variable = keras.Variable([1.0])
    optimizer.build([variable])

    @tf.function(autograph=False)
    def step():
        optimizer.apply([2.0 * variable.value], [variable])

    for _ in range(3):
        step()
    assert int(optimizer.iterations) == 3
    # Each early step of Adam moves by about the learning rate.
    np.testing.assert_allclose(variable.numpy(), [0.7], atol=0.01)


def test_sparse_gradients_are_taken():
    optimizer = FusedAdam(0.1)
    table = keras.Variable(np.ones((3, 2), "float32"))
    gradient = tf.IndexedSlices(
        tf.ones((2, 2)), tf.constant([1, 1]), tf.constant([3, 2])
    )
    optimizer.apply([gradient], [table])
    # Row 1 moves by the learning rate whatever the gradient's size.
    np.testing.assert_allclose(
        table.numpy(), [[1, 1], [0.9, 0.9], [1, 1]], atol=1e-5
    )


def test_amsgrad_is_refused():
    optimizer = FusedAdam(0.1, amsgrad=True)
    with pytest.raises(ValueError, match="`amsgrad` is not supported"):
        optimizer.apply([tf.constant([1.0])], [keras.Variable([1.0])])
