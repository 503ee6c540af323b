"""Balancing losses against numbers worked by hand."""

import numpy as np
import tensorflow as tf

from moe_keras.losses import (
    balance_loss,
    cv_squared,
    importance_loss,
    load_loss,
    z_loss,
)


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


class BalanceLossTest(tf.test.TestCase):
    def test_published_value(self):
        # The test of vmoe, flaxformer and Hugging Face's transformers. Rows
        # of its "probabilities" do not sum to 1. Choices [3, 2] of 5.
        p = np.array(
            [
                [0.35490513, 0.60419905],
                [0.4275843, 0.23061597],
                [0.32985854, 0.43953657],
                [0.25099766, 0.27730572],
                [0.7678207, 0.71474564],
            ]
        )
        self.assertAllClose(balance_loss([3, 2], p.sum(0), 5), 0.8741045)

    def test_even_choices_or_even_probabilities_give_1(self):
        self.assertAllClose(balance_loss([2, 2, 2], [4.0, 1.0, 1.0], 6), 1.0)
        self.assertAllClose(balance_loss([6, 0, 0], [2.0, 2.0, 2.0], 6), 1.0)

    def test_collapse_gives_the_number_of_experts(self):
        self.assertAllClose(balance_loss([9, 0, 0], [9.0, 0.0, 0.0], 9), 3.0)

    def test_does_not_depend_on_the_number_of_choices_of_a_token(self):
        one = balance_loss([3, 1], [2.5, 1.5], 4)
        self.assertAllClose(balance_loss([6, 2], [2.5, 1.5], 4), one)

    def test_empty_batch_gives_zero_with_a_finite_gradient(self):
        probability = tf.zeros(3)
        with tf.GradientTape() as tape:
            tape.watch(probability)
            loss = balance_loss(tf.zeros(3), probability, 0)
        self.assertAllEqual(loss, 0.0)
        self.assertAllEqual(tape.gradient(loss, probability), [0.0] * 3)

    def test_gradient_lowers_what_is_chosen_much(self):
        probability = tf.constant([2.0, 1.0, 1.0])
        with tf.GradientTape() as tape:
            tape.watch(probability)
            loss = balance_loss([3, 1, 0], probability, 4)
        # E * f / N: 3 * [3/4, 1/4, 0] / 4.
        gradient = tape.gradient(loss, probability)
        self.assertAllClose(gradient, [9 / 16, 3 / 16, 0.0])


class ZLossTest(tf.test.TestCase):
    def test_published_value(self):
        # The same tests as above: two groups of six tokens, four experts.
        logits = [
            [-4.2124424, 3.891939, -3.6481273, 1.8849981],
            [0.32625437, 2.918651, 0.84758997, -4.556842],
            [-3.32062, 4.6977115, -0.15439987, 0.44086337],
            [3.4467149, 4.3436565, -4.7224274, -4.264637],
            [-2.224406, -2.5318158, -1.3832569, 1.1891162],
            [-2.320062, -0.44705987, 4.289819, -0.00662684],
            [0.99470854, -0.6992364, 0.25503993, 4.2952085],
            [3.5937333, -3.2408535, -4.298278, 4.426601],
            [0.7669008, 2.6588762, 2.4505413, 4.6051874],
            [0.23330331, -3.0845237, 0.6262374, -2.9865491],
            [0.7595146, -2.1099675, -4.155346, -2.8326452],
            [2.3771453, 1.004138, -3.1781673, 0.7581556],
        ]
        self.assertAllClose(z_loss(logits), 13.786719)

    def test_mask_leaves_tokens_out(self):
        # log(2)^2 twice, and a token of huge logits that does not count.
        logits = np.array([[0.0, 0.0], [500.0, 500.0], [0.0, 0.0]])
        loss = z_loss(logits, mask=np.array([True, False, True]))
        self.assertAllClose(loss, np.log(2) ** 2)

    def test_shares_of_replicas_sum_to_the_whole(self):
        logits = np.random.default_rng(0).normal(size=(5, 3))
        shares = [z_loss(part, num_tokens=5) for part in np.split(logits, [2])]
        self.assertAllClose(sum(shares), z_loss(logits))

    def test_empty_batch_gives_zero_with_a_finite_gradient(self):
        logits = tf.zeros((2, 3))
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = z_loss(logits, mask=np.array([False, False]))
        self.assertAllEqual(loss, 0.0)
        self.assertAllEqual(tape.gradient(loss, logits), np.zeros((2, 3)))
