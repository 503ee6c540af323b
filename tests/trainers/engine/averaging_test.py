"""The moving average of the weights."""

import numpy as np
import pytest
import tensorflow as tf

from trainers.engine.averaging import MovingAverage


def test_follows_the_recurrence_worked_by_a_loop():
    weight = tf.Variable(1.0)
    average = MovingAverage([weight], decay=0.5, every=1)
    expected = 1.0
    for count, value in enumerate([2.0, 5.0, -1.0, 4.0], start=1):
        weight.assign(value)
        average.update()
        decay = min(0.5, count / (9 + count))
        expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(average.averages[0], expected, rtol=1e-6)


def test_rare_updates_use_the_power_of_the_decay():
    weight = tf.Variable(0.0)
    average = MovingAverage([weight], decay=0.9, every=10)
    average.updates.assign(10**6)
    weight.assign(1.0)
    average.update()
    np.testing.assert_allclose(average.averages[0], 1 - 0.9**10, rtol=1e-5)


def test_swap_gives_the_weights_back_even_after_an_error():
    weight = tf.Variable([1.0, 2.0])
    average = MovingAverage([weight], decay=0.5)
    weight.assign([3.0, 4.0])
    with pytest.raises(KeyError):
        with average.swapped_in():
            np.testing.assert_array_equal(weight, [1.0, 2.0])
            raise KeyError
    np.testing.assert_array_equal(weight, [3.0, 4.0])
    np.testing.assert_array_equal(average.averages[0], [1.0, 2.0])


def test_decay_of_zero_means_the_weights_themselves():
    weight = tf.Variable(1.0)
    average = MovingAverage([weight], decay=0.0)
    weight.assign(0.1)
    average.update()
    with average.swapped_in():
        assert float(weight) == np.float32(0.1)
    assert average.averages == []  # they would be a second copy in memory


def test_bad_decay_is_refused():
    with pytest.raises(ValueError, match="Received: 1.0"):
        MovingAverage([tf.Variable(1.0)], decay=1.0)
