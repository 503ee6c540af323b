"""Experts: segments and batches against one network after another."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from small_experts import (
    COUNTS,
    OUT,
    ROWS,
    C,
    D,
    E,
    assert_equals_one_network_at_a_time,
    assert_segments_have_gradients_of_batches,
    built_experts,
    random_rows,
)

from moe_keras import FeedForwardExperts
from moe_keras.experts.feed_forward import ExpertList


def built(**kwargs):
    return built_experts(FeedForwardExperts, **{"seed": 0, **kwargs})


def one_expert(experts, e, x):
    w = {v.name: v.numpy()[e] for v in experts.trainable_variables}
    hidden = x @ w["kernel_in"] + w.get("bias_in", 0)
    hidden = experts.activation(hidden).numpy()
    return hidden @ w["kernel_out"] + w.get("bias_out", 0)


class FeedForwardExpertsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        activation=("relu", "gelu"),
        use_bias=(True, False),
        recompute=(True, False),
    )
    def test_batches_and_segments_equal_one_network_at_a_time(self, **kwargs):
        assert_equals_one_network_at_a_time(built(**kwargs), one_expert)

    @parameterized.product(
        activation=("relu", "gelu", "tanh", "sigmoid"),
        use_bias=(True, False),
        recompute=(True, False),
        as_function=(True, False),
    )
    def test_gradients_of_segments_equal_those_of_batches(
        self, as_function, **kwargs
    ):
        assert_segments_have_gradients_of_batches(built(**kwargs), as_function)

    def test_idle_expert_has_a_gradient_of_zero(self):
        experts = built()
        with tf.GradientTape() as tape:
            y = experts(random_rows(), counts=COUNTS)
        for gradient in tape.gradient(y, experts.trainable_variables):
            self.assertAllEqual(gradient[1], np.zeros(gradient.shape[1:]))

    def test_no_rows_at_all(self):
        experts = built()
        with tf.GradientTape() as tape:
            y = experts(tf.zeros((0, D)), counts=[0] * E)
        self.assertEqual(y.shape, (0, OUT))
        for gradient in tape.gradient(y, experts.trainable_variables):
            self.assertAllEqual(gradient, np.zeros(gradient.shape))

    def test_rows_of_nobody_have_no_gradient_even_if_they_are_nan(self):
        experts = built()
        x_SD = random_rows()
        x_SD[-2:] = np.nan
        x_SD = tf.constant(x_SD)
        with tf.GradientTape() as tape:
            tape.watch(x_SD)
            y = experts(x_SD, counts=COUNTS)
        d_x, *d_weights = tape.gradient(y, [x_SD, *experts.trainable_variables])
        self.assertAllEqual(d_x[-2:], np.zeros((2, D)))
        for gradient in d_weights:
            self.assertAllEqual(np.isfinite(gradient).all(), True)

    @parameterized.parameters((None,), (COUNTS,))
    def test_dropout_is_for_training_and_equal_when_recomputed(self, counts):
        x = tf.ones((E, 50, D) if counts is None else (ROWS, D), tf.float64)

        def run(recompute):
            experts = built(dropout=0.5, recompute=recompute)
            with tf.GradientTape() as tape:
                y = experts(x, counts=counts, training=True)
            gradients = tape.gradient(y, experts.trainable_variables)
            return [y, *gradients], experts(x, counts=counts)

        (kept, still), (recomputed, _) = run(False), run(True)
        self.assertNotAllClose(kept[0], still)
        for ours, theirs in zip(kept, recomputed, strict=True):
            self.assertAllClose(ours, theirs)

    def test_each_expert_is_initialized_as_if_alone(self):
        # Glorot: uniform within sqrt(6 / (fan in + fan out)).
        experts = FeedForwardExperts(40, 20, seed=0)
        experts.build((40, None, 10))
        for kernel in (experts.kernel_in, experts.kernel_out):
            limit = np.sqrt(6 / 30)
            self.assertAllClose(np.abs(kernel).max(), limit, rtol=0.01)
            self.assertNotAllClose(kernel[0], kernel[1])

    def test_no_two_kernels_share_their_random_numbers(self):
        experts = FeedForwardExperts(2, 3)
        experts.build((2, None, 3))
        self.assertNotAllClose(experts.kernel_in, experts.kernel_out)

    def test_sizes_below_one(self):
        for name in ("num_experts", "hidden_dim", "output_dim"):
            sizes = {"num_experts": 2, "hidden_dim": 3, name: 0}
            with self.assertRaisesRegex(ValueError, f"`{name}`.*{name}=0"):
                FeedForwardExperts(**sizes)

    def test_sizes_that_are_no_integers(self):
        for size in (2.0, True, "3"):
            with self.assertRaisesRegex(ValueError, f"`hidden.*={size!r}"):
                FeedForwardExperts(2, size)

    def test_dropout_out_of_its_range(self):
        for dropout in (-0.1, 1, 1.5, float("nan"), "0.1"):
            with self.assertRaisesRegex(ValueError, f"`drop.*={dropout!r}"):
                FeedForwardExperts(2, 3, dropout=dropout)


class ExpertListTest(tf.test.TestCase):
    def test_segments_equal_batches_equal_each_expert(self):
        experts = ExpertList([keras.layers.Dense(OUT) for _ in range(E)])
        x_ECD = np.random.default_rng(1).normal(size=(E, C, D))
        one_by_one = [
            layer(x_ECD[e]) for e, layer in enumerate(experts.experts)
        ]
        self.assertAllClose(experts(x_ECD), one_by_one)
        rows = tf.concat(
            [x_ECD[0], x_ECD[2][:1], x_ECD[3][:2], x_ECD[1][:2]], 0
        )
        y_SD = experts(rows, counts=COUNTS)
        expected = [one_by_one[0], one_by_one[2][:1], one_by_one[3][:2]]
        self.assertAllClose(y_SD[:6], np.concatenate(expected))
        self.assertAllEqual(y_SD[6:], np.zeros((2, OUT)))

    def test_experts_hear_that_they_train(self):
        experts = ExpertList([keras.layers.Dropout(0.5) for _ in range(2)])
        x = tf.ones((2, 50, 1))
        self.assertAllEqual(experts(x), x)
        self.assertNotAllEqual(experts(x, training=True), x)
