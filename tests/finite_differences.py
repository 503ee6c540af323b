"""Gradients held against central differences, in float64."""

import numpy as np
import tensorflow as tf


def check_gradients(run, variables, step=1e-6):
    """Fails unless TensorFlow's gradients are those of finite differences.

    Args:
        run: Function without arguments that returns a float64 scalar, and the
            same one whenever the variables are the same.
        variables: List of float64 Keras variables that it depends on.
        step: float. How far each number is moved either way.
    """
    with tf.GradientTape() as tape:
        value = run()
    gradients = tape.gradient(value, [v.value for v in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        start = variable.numpy()
        numeric = np.zeros_like(start)
        for place in np.ndindex(*start.shape):
            values = []
            for sign in (1, -1):
                moved = start.copy()
                moved[place] += sign * step
                variable.assign(moved)
                values.append(run())
            numeric[place] = (values[0] - values[1]) / (2 * step)
        variable.assign(start)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-7)
        assert np.abs(numeric).max() > 1e-4, "nothing to compare"
