"""Strictly balanced gating against appendix F, written as loops."""

import math

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from batchwise_gates import (
    D,
    E,
    N,
    built_gate,
    gate_of_scores,
    scores,
)
from small_gates import dense_gates

from moe_keras import BatchwiseGate, FeedForwardExperts, SparseMoE


class WorkedExampleTest(tf.test.TestCase):
    """Three tokens, three experts, k = 2: each takes m = 2 tokens.

    token   scores            taken by
    0       .70  .20  .10     0
    1       .50  .35  .15     0, 1, 2
    2       .10  .30  .60     2, 1
    """

    def setUp(self):
        super().setUp()
        self.gate, self.x = gate_of_scores(
            [[0.7, 0.2, 0.1], [0.5, 0.35, 0.15], [0.1, 0.3, 0.6]],
            k=2,
            thresholds=0.25,
            threshold_loss_weight=0.5,
        )

    def test_training(self):
        routing = self.gate(self.x, training=True)
        self.assertAllEqual(
            routing.expert_index, [[0, -1, -1], [0, 1, 2], [2, 1, -1]]
        )
        self.assertAllClose(
            routing.gate, [[1, 0, 0], [0.5, 0.35, 0.15], [2 / 3, 1 / 3, 0]]
        )
        self.assertAllClose(
            routing.importance, [1.5, 0.35 + 1 / 3, 0.15 + 2 / 3]
        )
        self.assertAllEqual(routing.load, [2, 2, 2])
        self.assertAllEqual(routing.metrics["experts_per_token"], 6)
        # The masks differ for token 1 and expert 2, which has taken it below
        # its threshold: -(.15 - .25) = .1, over 3 tokens, times .5.
        self.assertAllClose(routing.loss, 0.5 * 0.1 / 3)

    def test_inference(self):
        routing = self.gate(self.x)
        self.assertAllEqual(routing.expert_index, [[0, -1], [0, 1], [2, 1]])
        self.assertAllClose(
            routing.gate,
            [[1, 0], [0.5 / 0.85, 0.35 / 0.85], [2 / 3, 1 / 3]],
        )
        self.assertAllEqual(routing.load, [2, 2, 1])
        self.assertAllEqual(routing.metrics["experts_per_token"], 5)
        self.assertAllEqual(routing.loss, 0)

    def test_thresholds(self):
        self.assertAllClose(self.gate.thresholds, [0.25] * 3)


class EquationsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(k=(1, 2, 3, E), masked=(False, True))
    def test_training_equals_brute_force(self, k, masked):
        gate, x_ND = built_gate(k)
        mask_N = np.arange(N) % 3 != 1 if masked else np.ones(N, bool)
        score_NE = scores(gate, x_ND)
        thresholds_E = gate.thresholds.numpy()
        m = math.ceil(k * mask_N.sum() / E)
        taken_NE = np.zeros((N, E))
        for e in range(E):
            order = sorted(
                np.flatnonzero(mask_N), key=lambda n: -score_NE[n, e]
            )
            taken_NE[order[:m], e] = 1
        loss = 0.0
        for n, e in np.ndindex(N, E):
            above = mask_N[n] and score_NE[n, e] > thresholds_E[e]
            distance = score_NE[n, e] - thresholds_E[e]
            loss += (float(above) - taken_NE[n, e]) * distance
        routing = gate(x_ND, mask=mask_N if masked else None, training=True)
        self.check_gates(routing, score_NE, taken_NE, k)
        self.assertAllEqual(routing.load, [m] * E)
        self.assertAllClose(routing.loss, 0.1 * loss / mask_N.sum())

    @parameterized.parameters(1, 2, 3, E)
    def test_inference_equals_brute_force(self, k):
        gate, x_ND = built_gate(k)
        score_NE = scores(gate, x_ND)
        above_NE = (score_NE > gate.thresholds.numpy()).astype(float)
        routing = gate(x_ND)
        self.check_gates(routing, score_NE, above_NE, k)
        self.assertAllEqual(routing.load, above_NE.sum(0))

    def check_gates(self, routing, score_NE, taken_NE, k):
        kept_NE = score_NE * taken_NE
        if k > 1:
            kept_NE /= np.maximum(kept_NE.sum(1, keepdims=True), 1e-300)
        self.assertAllClose(dense_gates(routing, E), kept_NE)
        self.assertAllClose(routing.importance, kept_NE.sum(0))
        counts_N = taken_NE.sum(1)
        # As many places as the token with most experts needs, the best first.
        most = max(int(counts_N.max()), 1)
        self.assertEqual(routing.gate.shape, (N, most))
        gate_NK = routing.gate.numpy()
        self.assertAllEqual(-np.sort(-gate_NK, axis=1), gate_NK)
        figures = routing.metrics
        self.assertAllEqual(figures["experts_per_token"], counts_N.sum())


class BalanceTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((8, 2, 4), (10, 2, 4), (1, 1, 1), (11, 5, 11))
    def test_shares_are_equal_and_rounded_up(self, num_tokens, k, m):
        # k N / E of five experts: 3.2, 4, 0.2, 11.
        gate, _ = built_gate(k)
        x = np.random.default_rng(1).normal(size=(num_tokens, D))
        self.assertAllEqual(gate(x, training=True).load, [m] * E)

    def test_equal_tokens_are_shared_out_all_the_same(self):
        gate, _ = built_gate(k=2)
        routing = gate(tf.ones((10, D), tf.float64), training=True)
        self.assertAllEqual(routing.load, [4] * E)
        # The first four have all experts, the others none.
        self.assertAllEqual(routing.expert_index[4:], -np.ones((6, E)))
        self.assertAllEqual(routing.metrics["tokens_without_expert"], 6)

    def test_it_asks_for_no_balancing_losses(self):
        gate, x_ND = built_gate(dtype="float32")
        layer = SparseMoE(E, hidden_dim=3, gate=gate)
        layer(x_ND, training=True)
        self.assertAllClose(layer.losses, [gate(x_ND, training=True).loss])


class ThresholdsTest(tf.test.TestCase):
    def test_untrained_thresholds_pass_at_most_k_experts(self):
        gate = BatchwiseGate(64, k=3)
        x = 30 * np.random.default_rng(0).normal(size=(200, D))
        self.assertLessEqual(gate(x).expert_index.shape[1], 3)
        self.assertAllClose(gate.thresholds, [1 / 4] * 64)

    def test_token_above_all_thresholds_goes_to_all_experts(self):
        gate, x = gate_of_scores([[0.2, 0.5, 0.3], [0.01, 0.98, 0.01]], 2, 0.1)
        routing = gate(x)
        self.assertAllEqual(routing.expert_index, [[1, 2, 0], [1, -1, -1]])
        self.assertAllClose(routing.gate, [[0.5, 0.3, 0.2], [1, 0, 0]])

    def test_token_below_all_thresholds_gets_no_expert(self):
        gate, x = gate_of_scores([[0.2, 0.5, 0.3], [0.3, 0.4, 0.3]], 2, 0.6)
        routing = gate(x)
        self.assertAllEqual(routing.expert_index, [[-1], [-1]])
        self.assertAllEqual(routing.gate, [[0.0], [0.0]])
        self.assertAllEqual(routing.metrics["experts_per_token"], 0)
        self.assertAllEqual(routing.metrics["tokens_without_expert"], 2)

    def test_loss_brings_inference_to_k_experts_and_balance(self):
        # The gate stands still: only thresholds learn, from 1/3 each.
        gate = BatchwiseGate(8, k=2)
        gate.build((None, D))
        rng = np.random.default_rng(0)
        gate.gate_kernel.assign(rng.normal(size=(D, 8)))
        optimizer = keras.optimizers.Adam(3e-3)

        @tf.function(autograph=False)
        def step(x):
            with tf.GradientTape() as tape:
                loss = gate(x, training=True).loss
            weight = gate.log_threshold.value
            optimizer.apply([tape.gradient(loss, weight)], [gate.log_threshold])
            return loss

        def batch(num_tokens):
            return tf.constant(rng.normal(size=(num_tokens, D)), "float32")

        first = step(batch(256))
        for _ in range(100):
            last = step(batch(256))
        self.assertLess(last, first / 5)
        fresh = gate(batch(4000))
        mean = fresh.metrics["experts_per_token"] / 4000
        self.assertAllClose(mean, 2.0, atol=0.2)
        self.assertAllClose(fresh.load, [1000] * 8, atol=150)


class TokensTest(tf.test.TestCase):
    def test_at_inference_a_token_does_not_depend_on_its_batch(self):
        gate, x_ND = built_gate()
        together = dense_gates(gate(x_ND), E)
        for n in range(N):
            alone = dense_gates(gate(x_ND[n : n + 1]), E)
            self.assertAllClose(alone[0], together[n])

    def test_while_training_later_tokens_take_experts_from_earlier_ones(self):
        # Two tokens, two experts, k = 1: each takes one. Expert 0 prefers
        # token 0 until token 1 wants it more.
        experts = []
        for later in ([0.2, 0.8], [0.9, 0.1]):
            gate, x = gate_of_scores([[0.7, 0.3], later], k=1)
            experts.append(gate(x, training=True).expert_index[0, 0])
        self.assertAllEqual(experts, [0, 1])

    def test_two_inference_calls_are_equal_to_the_bit(self):
        gate, x_ND = built_gate()
        for first, second in zip(gate(x_ND)[:5], gate(x_ND)[:5], strict=True):
            self.assertAllEqual(first, second)

    def test_untaken_token_comes_out_as_zeros(self):
        gate, x = gate_of_scores([[0.6, 0.4], [0.7, 0.3], [0.6, 0.4]], 1, 0.65)
        experts = FeedForwardExperts(2, 3, dtype="float64")
        experts.build((2, None, 2))
        experts.kernel_out.assign(tf.zeros((2, 3, 2)))
        experts.bias_out.assign([[1, 2], [3, 4]])
        y = SparseMoE(2, gate=gate, expert=experts, dtype="float64")(x)
        # Expert 0 takes token 1 with its score for a gate; nobody the others.
        self.assertAllClose(y, [[0.0, 0.0], [0.7 * 1, 0.7 * 2], [0.0, 0.0]])

    def test_score_that_underflows_still_ranks_and_runs(self):
        # e^-200 and e^-300 are both 0 in float32.
        gate = BatchwiseGate(2, k=1)
        gate.build((None, 1))
        gate.gate_kernel.assign([[0.0, 1.0]])
        routing = gate(tf.constant([[300.0], [200.0]]), training=True)
        self.assertAllEqual(routing.expert_index, [[1], [0]])
        self.assertAllEqual(routing.gate, [[1.0], [0.0]])


class MaskTest(tf.test.TestCase):
    def test_padding_counts_nowhere_whatever_it_holds(self):
        mask = np.array([True, False, True, True, False, True, True])
        for training in (False, True):
            results = []
            for filling in (0.0, 1e30, np.nan):
                gate, x_ND = built_gate()
                x = x_ND.numpy()
                x[~mask] = filling
                with tf.GradientTape() as tape:
                    routing = gate(tf.constant(x), mask=mask, training=training)
                    loss = tf.reduce_sum(routing.gate**2) + routing.loss
                gradient = tape.gradient(loss, gate.gate_kernel.value)
                self.assertAllEqual(np.isfinite(gradient), np.ones((D, E)))
                self.assertAllEqual(np.max(routing.expert_index[1]), -1)
                results.append([*routing[:5], gradient])
            for zeros, *others in zip(*results, strict=True):
                for other in others:
                    self.assertAllEqual(zeros, other)

    def test_real_tokens_are_routed_as_if_alone(self):
        # Also while training: no slot is taken, and m counts 4 tokens, not 7.
        gate, x_ND = built_gate()
        mask = np.array([True, True, False, True, False, False, True])
        for training in (False, True):
            padded = gate(x_ND, mask=mask, training=training)
            alone = gate(x_ND[mask], training=training)
            self.assertAllEqual(padded.expert_index[mask], alone.expert_index)
            self.assertAllClose(padded.gate[mask], alone.gate)
            for ours, theirs in zip(padded[2:5], alone[2:5], strict=True):
                self.assertAllClose(ours, theirs)
            for name, figure in alone.metrics.items():
                self.assertAllEqual(padded.metrics[name], figure)

    def test_everything_masked(self):
        gate, x_ND = built_gate()
        for training in (False, True):
            routing = gate(x_ND, mask=np.zeros(N, bool), training=training)
            self.assertAllEqual(routing.expert_index, -np.ones((N, 1)))
            for tensor in (routing.gate, routing.load, routing.loss):
                self.assertAllEqual(tensor, np.zeros(tensor.shape))


class ArgumentsTest(tf.test.TestCase):
    def test_k_out_of_range(self):
        for k in (0, 6):
            with self.assertRaisesRegex(ValueError, f"`k`.*k={k}"):
                BatchwiseGate(5, k=k)

    def test_negative_threshold_loss_weight(self):
        with self.assertRaisesRegex(ValueError, "`threshold_loss_weight`.*-1"):
            BatchwiseGate(5, k=2, threshold_loss_weight=-1)
