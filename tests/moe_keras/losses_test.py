"""Balancing losses against numbers worked by hand."""

import numpy as np
import tensorflow as tf

from moe_keras.losses import cv_squared, importance_loss, load_loss


def gradient_of_cv_squared(values):
    values = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = cv_squared(values)
    return tape.gradient(result, values).numpy()


class CvSquaredTest(tf.test.TestCase):
    def test_population_variance_over_squared_mean(self):
        # Mean 3, deviations -2 -1 0 3, variance 14/4 = 3.5: 3.5 / 9.
        self.assertAllClose(cv_squared([1.0, 2.0, 3.0, 6.0]), 0.388889)

    def test_one_expert_with_everything_gives_experts_minus_one(self):
        # Mean 1/4, variance 1/4 - 1/16 = 3/16: (3/16) / (1/16) = 3.
        self.assertAllClose(cv_squared([0.0, 1.0, 0.0, 0.0]), 3.0)

    def test_does_not_depend_on_scale(self):
        values = np.array([1.0, 4.0, 2.0], "float32")
        self.assertAllClose(cv_squared(1000 * values), cv_squared(values))

    def test_single_expert_gives_zero_with_a_finite_gradient(self):
        self.assertAllEqual(cv_squared([7.0]), 0.0)
        self.assertAllEqual(gradient_of_cv_squared([7.0]), [0.0])

    def test_gradient_at_perfect_balance_is_zero_and_not_nan(self):
        self.assertAllEqual(gradient_of_cv_squared([2.0] * 5), [0.0] * 5)

    def test_empty_batch_gives_zero_with_a_finite_gradient(self):
        self.assertAllEqual(cv_squared([0.0, 0.0, 0.0]), 0.0)
        self.assertAllEqual(gradient_of_cv_squared([0.0] * 3), [0.0] * 3)

    def test_counts_may_be_integers(self):
        self.assertAllClose(cv_squared(np.array([1, 2, 3, 6])), 0.388889)

    def test_gradient_equals_finite_differences(self):
        values = np.array([1.0, 2.5, 0.5, 3.0])
        step = 1e-6
        numeric = [
            (cv_squared(values + d) - cv_squared(values - d)) / (2 * step)
            for d in step * np.eye(4)
        ]
        self.assertAllClose(gradient_of_cv_squared(values), numeric, 1e-6)


class ImportanceAndLoadLossTest(tf.test.TestCase):
    def test_value_worked_by_hand(self):
        # Gates [.75 .25 0] and [.25 .75 0] sum to [1 1 0]: mean 2/3,
        # variance 2/9, so CV^2 = 1/2.
        self.assertAllClose(importance_loss([1.0, 1.0, 0.0]), 0.5)
        self.assertAllClose(load_loss([2.0, 2.0, 0.0]), 0.5)

    def test_mirrored_collapse_of_two_layers_does_not_cancel(self):
        # Each layer alone is as bad as two experts can be: CV^2 = 1. Their
        # sum, [4, 4], would look perfect.
        first, second = [4.0, 0.0], [0.0, 4.0]
        self.assertAllClose(load_loss(first) + load_loss(second), 2.0)
