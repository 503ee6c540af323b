"""The gate against the paper's formulas, written as loops over scalars."""

import math

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from moe_keras import NoisyTopKGate
from moe_keras.gating.noisy_top_k import chosen_probability
from moe_keras.losses import cv_squared

N, D, E = 6, 4, 5


def normal_cdf(z):
    return 0.5 * math.erfc(-z / math.sqrt(2))


def softplus(x):
    return np.log1p(np.exp(x))


def brute_force_load(clean_NE, noisy_NE, stddev_NE, k):
    """Equation 8 to 10, one scalar at a time."""
    load_E = np.zeros(clean_NE.shape[1])
    for clean, noisy, stddev in zip(clean_NE, noisy_NE, stddev_NE, strict=True):
        for i in range(len(clean)):
            others = np.delete(noisy, i)
            if k > len(others):  # k = E: always chosen
                load_E[i] += 1
                continue
            threshold = np.sort(others)[-k]
            load_E[i] += normal_cdf((clean[i] - threshold) / stddev[i])
    return load_E


def built_gate(k=2, seed=0, scale=1.0, dtype="float64", **kwargs):
    """A gate with random kernels, and tokens for it."""
    rng = np.random.default_rng(seed)
    gate = NoisyTopKGate(E, k=k, seed=seed, dtype=dtype, **kwargs)
    gate.build((None, D))
    gate.gate_kernel.assign(scale * rng.normal(size=(D, E)))
    gate.noise_kernel.assign(rng.normal(size=(D, E)))
    return gate, tf.constant(rng.normal(size=(N, D)))


def frozen_noise(gate):
    """The noise of the next call; the generator is left as it was."""
    state = gate.seed_generator.state.numpy()
    noise_NE = keras.random.normal(
        (N, E), dtype="float64", seed=gate.seed_generator
    ).numpy()
    gate.seed_generator.state.assign(state)
    return noise_NE


def logits_of(gate, x_ND):
    clean_NE = x_ND.numpy() @ gate.gate_kernel.numpy()
    stddev_NE = softplus(x_ND.numpy() @ gate.noise_kernel.numpy())
    return clean_NE, clean_NE + frozen_noise(gate) * stddev_NE, stddev_NE


class EquationsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(2, 3, E)
    def test_gates_are_a_softmax_over_the_largest_noisy_logits(self, k):
        gate, x_ND = built_gate(k)
        _, noisy_NE, _ = logits_of(gate, x_ND)
        routing = gate(x_ND, training=True)
        for n in range(N):
            chosen = np.argsort(-noisy_NE[n])[:k]
            powers = np.exp(noisy_NE[n][chosen])
            self.assertAllEqual(routing.expert_index[n], chosen)
            self.assertAllClose(routing.gate[n], powers / powers.sum())

    @parameterized.parameters(2, 3, E)
    def test_importance_is_the_sum_of_gates(self, k):
        gate, x_ND = built_gate(k)
        routing = gate(x_ND, training=True)
        importance_E = np.zeros(E)
        for n in range(N):
            for j in range(k):
                importance_E[routing.expert_index[n, j]] += routing.gate[n, j]
        self.assertAllClose(routing.importance, importance_E)
        self.assertAllClose(np.sum(routing.importance), N)

    @parameterized.parameters(1, 2, 3, E - 1, E)
    def test_load_equals_brute_force(self, k):
        gate, x_ND = built_gate(k)
        logits = logits_of(gate, x_ND)
        routing = gate(x_ND, training=True)
        self.assertAllClose(routing.load, brute_force_load(*logits, k))

    def test_probability_of_an_expert_that_is_exactly_kth(self):
        # k = 2 of [3 1 2]: the second is 2, whose rival is 1, not itself.
        noisy = tf.constant([[3.0, 1.0, 2.0]])
        clean, stddev = noisy, tf.ones((1, 3))
        top = tf.math.top_k(noisy, 3).values
        self.assertAllClose(
            chosen_probability(clean, noisy, stddev, top, k=2)[0],
            [normal_cdf(3 - 1), normal_cdf(1 - 2), normal_cdf(2 - 1)],
        )

    def test_ties_have_one_threshold(self):
        noisy = tf.constant([[1.0, 1.0, 1.0]])
        top = tf.math.top_k(noisy, 3).values
        p = chosen_probability(noisy, noisy, tf.ones((1, 3)), top, k=2)
        self.assertAllClose(p, [[0.5, 0.5, 0.5]])

    def test_starved_expert_has_a_probability_above_zero(self):
        # Phi(-6) = 9.9e-10, which 1 + erf rounds to 0 in float32.
        noisy = tf.constant([[3.0, -3.0]])
        p = chosen_probability(noisy, noisy, tf.ones((1, 2)), noisy, k=1)
        self.assertAllClose(p[0, 1], 9.8659e-10, rtol=1e-3, atol=0)

    def test_load_sums_to_about_k_times_tokens(self):
        gate, _ = built_gate(k=2)
        x_ND = keras.random.normal((500, D), seed=1, dtype="float64")
        load_E = gate(x_ND, training=True).load
        self.assertAllClose(np.sum(load_E), 2 * 500, rtol=0.05)

    def test_probability_is_the_frequency_under_fresh_noise(self):
        # Expert 0's own noise is drawn again 20,000 times: the standard
        # error of the frequency is below 0.004.
        clean = np.array([0.3, 0.1, -0.4, 0.5])
        noisy = np.array([0.9, 0.2, 0.1, -0.3])
        stddev = np.array([0.7, 1.0, 0.5, 2.0])
        top = np.sort(noisy)[::-1][None]
        p = chosen_probability(
            *(tf.constant(x[None]) for x in (clean, noisy, stddev)),
            tf.constant(top[:, :3]),
            k=2,
        )
        draws = np.random.default_rng(0).normal(size=20_000)
        fresh = clean[0] + stddev[0] * draws
        chosen = fresh > np.sort(noisy[1:])[-2]
        self.assertAllClose(p[0, 0], chosen.mean(), atol=0.015)


class TrainingAndInferenceTest(tf.test.TestCase):
    def test_inference_has_no_noise_and_counts_tokens(self):
        gate, x_ND = built_gate(k=2)
        routing = gate(x_ND, training=False)
        clean_NE = x_ND.numpy() @ gate.gate_kernel.numpy()
        chosen = np.argsort(-clean_NE, axis=1)[:, :2]
        self.assertAllEqual(routing.expert_index, chosen)
        self.assertAllEqual(
            routing.load, np.bincount(chosen.ravel(), minlength=E)
        )

    def test_two_inference_calls_are_equal_to_the_bit(self):
        gate, x_ND = built_gate(k=2)
        for first, second in zip(gate(x_ND), gate(x_ND), strict=True):
            self.assertAllEqual(first, second)

    def test_untrained_gate_is_balanced_by_noise(self):
        gate = NoisyTopKGate(8, k=2, seed=0)
        routing = gate(tf.ones((2000, 3)), training=True)
        counts = np.bincount(np.ravel(routing.expert_index), minlength=8)
        # 500 each, with a standard deviation of about 20.
        self.assertAllClose(counts, [500] * 8, atol=100)
        self.assertAllClose(routing.load, [500] * 8, atol=100)

    def test_untrained_gate_at_inference_picks_the_first_experts(self):
        routing = NoisyTopKGate(8, k=2)(tf.ones((3, 3)))
        self.assertAllEqual(routing.expert_index, [[0, 1]] * 3)

    def test_equal_seeds_agree_and_different_ones_differ(self):
        def run(seed):
            return NoisyTopKGate(8, k=2, seed=seed)(
                tf.ones((9, 3)), training=True
            ).expert_index

        self.assertAllEqual(run(3), run(3))
        self.assertNotAllEqual(run(3), run(4))

    def test_every_call_draws_new_noise(self):
        gate, x = NoisyTopKGate(8, k=2, seed=0), tf.ones((9, 3))
        first = gate(x, training=True).expert_index
        self.assertNotAllEqual(first, gate(x, training=True).expert_index)

    def test_huge_gap_of_logits_still_chooses_k(self):
        gate = NoisyTopKGate(3, k=2)
        gate.build((None, 1))
        gate.gate_kernel.assign([[0.0, 200.0, 100.0]])
        routing = gate(tf.ones((1, 1)))
        self.assertAllEqual(routing.expert_index, [[1, 2]])
        self.assertAllEqual(routing.gate, [[1.0, 0.0]])  # e^-100 underflows


class OneExpertPerTokenTest(tf.test.TestCase):
    def test_gate_is_the_probability_among_all(self):
        gate, x_ND = built_gate(k=1)
        _, noisy_NE, _ = logits_of(gate, x_ND)
        share_NE = np.exp(noisy_NE) / np.exp(noisy_NE).sum(1, keepdims=True)
        routing = gate(x_ND, training=True)
        self.assertAllClose(routing.gate[:, 0], share_NE.max(1))

    def test_task_moves_the_gate(self):
        gate, x_ND = built_gate(k=1)
        with tf.GradientTape() as tape:
            task = tf.reduce_sum(gate(x_ND, training=True).gate)
        gradient = tape.gradient(task, gate.gate_kernel.value)
        self.assertGreater(np.linalg.norm(gradient), 0.1)

    def test_single_expert_has_gate_one(self):
        routing = NoisyTopKGate(1, k=1)(tf.ones((3, 2)), training=True)
        self.assertAllEqual(routing.gate, [[1.0]] * 3)
        self.assertAllEqual(routing.load, [3.0])


class MaskTest(tf.test.TestCase):
    def test_padding_counts_nowhere_whatever_it_holds(self):
        for training in (False, True):
            for filling in (0.0, 1e30, np.nan):
                gate, x_ND = built_gate(k=2)
                x = x_ND.numpy()
                mask = np.array([True, False, True, True, False, True])
                x[~mask] = filling
                with tf.GradientTape() as tape:
                    routing = gate(tf.constant(x), mask=mask, training=training)
                    loss = cv_squared(routing.importance)
                    loss += tf.reduce_sum(routing.gate[:, 0])
                gradient = tape.gradient(loss, gate.gate_kernel.value)
                self.assertAllEqual(np.isfinite(gradient), np.ones((D, E)))
                self.assertAllEqual(routing.expert_index[1], [-1, -1])
                self.assertAllEqual(routing.gate[4], [0.0, 0.0])
                self.assertAllClose(np.sum(routing.importance), 4.0)
                load = np.sum(routing.load)
                self.assertAllClose(load, 2 * 4, rtol=0.3)

    def test_real_tokens_are_routed_as_if_alone(self):
        gate, x_ND = built_gate(k=2)
        mask = np.array([True, True, False, True, False, False])
        padded, alone = gate(x_ND, mask=mask), gate(x_ND[mask])
        self.assertAllEqual(padded.expert_index[mask], alone.expert_index)
        self.assertAllClose(padded.gate[mask], alone.gate)
        self.assertAllClose(padded.importance, alone.importance)
        self.assertAllClose(padded.load, alone.load)


class PrecisionTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("mixed_bfloat16", "mixed_float16", "bfloat16")
    def test_router_is_float32_under_every_policy(self, policy):
        gate = NoisyTopKGate(E, k=2, dtype=policy)
        routing = gate(tf.ones((N, D), "bfloat16"), training=True)
        self.assertEqual(gate.gate_kernel.dtype, "float32")
        self.assertEqual(gate.noise_kernel.dtype, "float32")
        for tensor in (routing.gate, routing.importance, routing.load):
            self.assertEqual(tensor.dtype, tf.float32)

    def test_near_ties_are_told_apart_under_mixed_bfloat16(self):
        # 1.001 and 1.002 are the same number in bfloat16.
        gate = NoisyTopKGate(3, k=1, dtype="mixed_bfloat16")
        gate.build((None, 1))
        gate.gate_kernel.assign([[1.0, 1.001, 1.002]])
        routing = gate(tf.ones((1, 1)))
        self.assertAllEqual(routing.expert_index, [[2]])


class InitialNoiseTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(0.05, 0.1, 2.0)
    def test_is_the_standard_deviation_before_training(self, size):
        gate = NoisyTopKGate(E, k=2, initial_noise=size)
        routing = gate(tf.random.normal((N, D), seed=1), training=True)
        # The sum over tokens of the mean standard deviation.
        self.assertAllClose(routing.metrics["noise"], N * size, rtol=1e-5)

    def test_the_usual_one_is_the_papers(self):
        gate = NoisyTopKGate(E, k=2)
        routing = gate(tf.zeros((N, D)), training=True)
        # softplus(0) = log(1 + e^0)
        self.assertAllClose(routing.metrics["noise"], N * np.log(2.0))

    def test_is_shifted_by_what_is_learnt(self):
        gate = NoisyTopKGate(2, k=1, initial_noise=0.1)
        gate.build((None, 1))
        gate.noise_kernel.assign([[0.5, 0.5]])
        routing = gate(tf.constant([[3.0]]), training=True)
        # softplus(3 * 0.5 + b), with b = log(e^0.1 - 1)
        expected = np.log1p(np.exp(1.5 + np.log(np.expm1(0.1))))
        self.assertAllClose(routing.metrics["noise"], expected, rtol=1e-5)


class ArgumentsTest(tf.test.TestCase):
    def test_initial_noise_that_is_no_size(self):
        for size in (0.0, -0.1, float("nan")):
            with self.assertRaisesRegex(ValueError, "`initial_noise`.*above 0"):
                NoisyTopKGate(5, k=2, initial_noise=size)

    def test_k_out_of_range(self):
        for k in (0, 6):
            with self.assertRaisesRegex(ValueError, f"`k`.*k={k}"):
                NoisyTopKGate(5, k=k)

    def test_negative_noise_epsilon(self):
        with self.assertRaisesRegex(ValueError, "`noise_epsilon`.*-1"):
            NoisyTopKGate(5, k=2, noise_epsilon=-1)
