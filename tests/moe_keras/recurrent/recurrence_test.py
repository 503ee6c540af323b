"""The recurrence against plain automatic differentiation."""

import numpy as np
import pytest
import tensorflow as tf

from moe_keras.recurrent.lstm_step import (
    Direct,
    Projected,
    cell_step,
    weight_gradient,
)
from moe_keras.recurrent.recurrence import recurrence

TIME, BATCH, UNITS, SIZE = 5, 3, 4, 2  # T, B, H and, where projected, P


def problem(projected, seed=0):
    """`(feedback, differentiable tensors)` in float64."""
    random = np.random.default_rng(seed)
    size = SIZE if projected else UNITS
    shapes = [
        (TIME, BATCH, 4 * UNITS),
        (BATCH, size),
        (BATCH, UNITS),
        (size, 4 * UNITS),
    ]
    if projected:
        shapes.append((UNITS, size))
    tensors = [tf.constant(random.normal(size=shape)) for shape in shapes]
    return (Projected() if projected else Direct()), tensors


def mask_of_steps():
    """`(T, B)`: right padding, a hole, and no real step at all."""
    rows = [[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]]
    return tf.constant(np.array(rows, bool).T)


def fast(feedback, tensors, mask, go_backwards, compiled=False):
    gates, feedback_BR, cell_BH, kernel, *parameters = tensors
    outputs, state, _ = recurrence(
        feedback,
        gates,
        (feedback_BR, cell_BH),
        kernel,
        parameters,
        mask=mask,
        go_backwards=go_backwards,
        compiled=compiled,
    )
    return outputs, *state


def slow(feedback, tensors, mask, go_backwards):
    """The same as a Python loop that the tape differentiates."""
    gates, feedback_BR, cell_BH, kernel, *parameters = tensors
    outputs = {}
    steps = range(TIME)
    for step in reversed(steps) if go_backwards else steps:
        hidden, new_cell, _ = cell_step(
            gates[step], feedback_BR, cell_BH, kernel
        )
        new_feedback, _ = feedback.forward(hidden, parameters, ())
        output = new_feedback
        if mask is not None:
            real = mask[step][:, None]
            output = tf.where(real, new_feedback, 0.0)
            new_feedback = tf.where(real, new_feedback, feedback_BR)
            new_cell = tf.where(real, new_cell, cell_BH)
        feedback_BR, cell_BH = new_feedback, new_cell
        outputs[step] = output
    stacked = tf.stack([outputs[step] for step in steps])
    return stacked, feedback_BR, cell_BH


def results_and_gradients(run, feedback, tensors, *arguments):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        results = run(feedback, tensors, *arguments)
        # Every result counts, each in its own way.
        loss = sum(
            tf.reduce_sum(tf.sin((number + 1.0) * x))
            for number, x in enumerate(results)
        )
    return results, tape.gradient(loss, tensors)


def check_equal(actual, expected, tolerance=1e-12):
    for one, other in zip(
        tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


class TestAgainstAutomaticDifferentiation:
    @pytest.mark.parametrize("projected", [False, True])
    @pytest.mark.parametrize("masked", [False, True])
    @pytest.mark.parametrize("go_backwards", [False, True])
    def test_eager(self, projected, masked, go_backwards):
        feedback, tensors = problem(projected)
        mask = mask_of_steps() if masked else None
        check_equal(
            results_and_gradients(fast, feedback, tensors, mask, go_backwards),
            results_and_gradients(slow, feedback, tensors, mask, go_backwards),
        )

    @pytest.mark.parametrize(
        "projected, masked, go_backwards, compiled",
        [
            (False, False, False, False),
            (True, True, False, False),
            (True, True, True, False),
            (True, True, True, True),
        ],
    )
    def test_graph_of_unknown_batch_and_time(
        self, projected, masked, go_backwards, compiled
    ):
        feedback, tensors = problem(projected)
        mask = mask_of_steps() if masked else None
        gates, h, c, *weights = tensors

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, x.shape[-1]][-x.ndim :], x.dtype)
                for x in (gates, h, c)
            ],
            autograph=False,
        )
        def graph(gates, h, c):
            inputs = [gates, h, c, *weights]
            return results_and_gradients(
                fast, feedback, inputs, mask, go_backwards, compiled
            )

        check_equal(
            graph(gates, h, c),
            results_and_gradients(slow, feedback, tensors, mask, go_backwards),
        )


class TestGradient:
    def test_against_finite_differences(self):
        feedback, tensors = problem(projected=True)
        mask = mask_of_steps()

        def loss(*tensors):
            outputs, h, c = fast(feedback, list(tensors), mask, False)
            return tf.reduce_sum(outputs**2 + h**3) + tf.reduce_sum(tf.sin(c))

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = loss(*tensors)
        gradients = tape.gradient(value, tensors)
        random = np.random.default_rng(1)
        for number, gradient in enumerate(gradients):
            # Along a random direction d: (L(x + e d) - L(x - e d)) / 2 e.
            direction = random.normal(size=gradient.shape)
            moved = [
                [
                    x + sign * 1e-5 * direction if k == number else x
                    for k, x in enumerate(tensors)
                ]
                for sign in (1, -1)
            ]
            slope = (loss(*moved[0]) - loss(*moved[1])) / 2e-5
            np.testing.assert_allclose(
                np.sum(gradient * direction), slope, rtol=1e-6, atol=1e-8
            )

    def test_weights_get_one_product_for_all_steps(self):
        # d kernel = sum over steps and batch of inputs^T d outputs.
        random = np.random.default_rng(2)
        x = random.normal(size=(TIME, BATCH, 2))
        dy = random.normal(size=(TIME, BATCH, 3))
        expected = sum(x[step].T @ dy[step] for step in range(TIME))
        np.testing.assert_allclose(weight_gradient(x, dy), expected)

    def test_second_order_is_refused(self):
        feedback, tensors = problem(projected=False)
        with tf.GradientTape() as outer:
            outer.watch(tensors)
            _, gradients = results_and_gradients(
                fast, feedback, tensors, None, False
            )
        with pytest.raises(ValueError, match="second order"):
            outer.gradient(gradients[0], tensors[0])

    def test_empty_batch_gives_zero_weight_gradients(self):
        feedback, (gates, h, c, *weights) = problem(projected=True)
        tensors = [gates[:, :0], h[:0], c[:0], *weights]
        results, gradients = results_and_gradients(
            fast, feedback, tensors, None, False
        )
        assert results[0].shape == (TIME, 0, SIZE)
        for weight, gradient in zip(weights, gradients[3:], strict=True):
            np.testing.assert_array_equal(gradient, tf.zeros_like(weight))


class TestMask:
    def test_content_of_masked_steps_changes_nothing(self):
        feedback, tensors = problem(projected=True)
        mask = mask_of_steps()
        gates = tensors[0]
        noise = tf.where(mask[:, :, None], gates, 1e3 * gates)
        check_equal(
            results_and_gradients(fast, feedback, tensors, mask, True),
            results_and_gradients(
                fast, feedback, [noise, *tensors[1:]], mask, True
            ),
            tolerance=0,
        )

    def test_sentence_without_real_steps_keeps_its_initial_state(self):
        feedback, tensors = problem(projected=True)
        outputs, h, c = fast(feedback, tensors, mask_of_steps(), False)
        np.testing.assert_array_equal(outputs[:, 2], np.zeros((TIME, SIZE)))
        np.testing.assert_array_equal(h[2], tensors[1][2])
        np.testing.assert_array_equal(c[2], tensors[2][2])
