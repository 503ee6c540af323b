"""The hierarchy of gates against appendix B, and what it costs."""

import math
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hierarchical_gates import (
    D,
    E,
    G,
    M,
    N,
    brute_force,
    built_gate,
    frozen_noise,
)
from small_gates import dense_gates

from moe_keras import (
    FeedForwardExperts,
    HierarchicalGate,
    NoisyTopKGate,
    SparseMoE,
)
from moe_keras.gating import hierarchical

ALL_K = ((1, 1), (1, 3), (2, 1), (2, 2), (3, 2), (2, M), (G, 2), (G, M))


class EquationsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(k=ALL_K, seed=(0, 1))
    def test_equals_brute_force(self, k, seed):
        gate, x_ND = built_gate(k, seed)
        noise = frozen_noise(gate)
        gates_NE, importance_E, load_E = brute_force(gate, x_ND.numpy(), noise)
        routing = gate(x_ND, training=True)
        self.assertEqual(routing.gate.shape, (N, k[0] * k[1]))
        self.assertAllClose(dense_gates(routing, E), gates_NE)
        self.assertAllClose(routing.importance, importance_E)
        self.assertAllClose(routing.load, load_E)

    @parameterized.parameters(*ALL_K)
    def test_choices_differ_and_the_best_comes_first(self, *k):
        gate, x_ND = built_gate(k)
        for training in (False, True):
            routing = gate(x_ND, training=training)
            gate_NK = routing.gate.numpy()
            self.assertAllEqual(-np.sort(-gate_NK, axis=1), gate_NK)
            for experts in routing.expert_index.numpy():
                self.assertLen(set(experts), k[0] * k[1])
                groups = np.bincount(experts // M, minlength=G)
                self.assertAllEqual(np.sort(groups)[-k[0] :], [k[1]] * k[0])

    def test_noise_and_gap_are_those_of_the_primary_gate(self):
        gate, x_ND = built_gate()
        mask = np.arange(N) % 3 != 1
        clean_NG, spread_NG = (
            x_ND.numpy() @ kernel.numpy() for kernel in gate.primary.weights[:2]
        )
        stddev_NG = np.maximum(np.log1p(np.exp(spread_NG)), 1e-2)
        top_NG = -np.sort(-clean_NG, axis=1)
        figures = gate(x_ND, mask=mask, training=True).metrics
        self.assertEqual(set(figures), set(gate.metric_names))
        self.assertAllClose(figures["noise"], stddev_NG[mask].mean(1).sum())
        # Two groups are chosen: the third logit is the one to be bridged.
        gap = (top_NG[:, 1] - top_NG[:, 2])[mask].sum()
        self.assertAllClose(figures["gap"], gap)
        at_inference = gate(x_ND).metrics
        self.assertAllEqual(list(at_inference.values()), [0.0, 0.0])

    def test_gates_of_a_token_sum_to_one(self):
        gate, x_ND = built_gate()
        routing = gate(x_ND, training=True)
        self.assertAllClose(np.sum(routing.gate, axis=1), np.ones(N))
        self.assertAllClose(np.sum(routing.importance), N)

    @parameterized.product(k=(1, 2, 3, E), training=(False, True))
    def test_groups_of_one_expert_are_the_flat_gate(self, k, training):
        # Group i is expert i: gate and load have a second factor of 1.
        flat = NoisyTopKGate(E, k=k, seed=3, dtype="float64")
        deep = HierarchicalGate(E, 1, k=(k, 1), seed=3, dtype="float64")
        rng = np.random.default_rng(0)
        flat.build((None, D))
        deep.build((None, D))
        for ours, theirs in zip(
            deep.primary.weights, flat.weights, strict=True
        ):
            theirs.assign(rng.normal(size=theirs.shape))
            ours.assign(theirs)
        x_ND = tf.constant(rng.normal(size=(N, D)))
        self.check_equal(deep(x_ND, training=training), flat, x_ND, training)

    @parameterized.parameters(1, 2, M)
    def test_a_single_group_is_the_flat_gate(self, k):
        flat = NoisyTopKGate(M, k=k, dtype="float64")
        deep = HierarchicalGate(1, M, k=(1, k), dtype="float64")
        rng = np.random.default_rng(0)
        flat.build((None, D))
        deep.build((None, D))
        flat.gate_kernel.assign(rng.normal(size=(D, M)))
        deep.gate_kernel.assign(flat.gate_kernel[None])
        x_ND = tf.constant(rng.normal(size=(N, D)))
        self.check_equal(deep(x_ND), flat, x_ND, False)

    def check_equal(self, routing, flat, x_ND, training):
        expected = flat(x_ND, training=training)
        for ours, theirs in zip(routing[:4], expected[:4], strict=True):
            self.assertAllClose(ours, theirs)

    def test_moe_equals_equation_12_token_by_token(self):
        gate, x_ND = built_gate(dtype="float32")
        x_ND = tf.cast(x_ND, "float32")
        layer = SparseMoE(E, hidden_dim=6, gate=gate)
        y_ND = layer(x_ND)
        logits_NG = x_ND.numpy() @ gate.primary.gate_kernel.numpy()
        for n, x_D in enumerate(x_ND.numpy()):
            outputs_ED = layer.experts(np.tile(x_D, (E, 1, 1)))[:, 0]
            expected_D = np.zeros(D)
            groups = np.argsort(-logits_NG[n])[:2]
            outer = tf.nn.softmax(logits_NG[n][groups])
            for i, group in enumerate(groups):
                logits_M = x_D @ gate.gate_kernel[group].numpy()
                experts = np.argsort(-logits_M)[:2]
                inner = tf.nn.softmax(logits_M[experts])
                for j, expert in enumerate(experts):
                    output_D = outputs_ED[group * M + expert]
                    expected_D += outer[i] * inner[j] * output_D
            self.assertAllClose(y_ND[n], expected_D, 1e-5, 1e-5)


class CostTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(k=((1, 2), (2, 2)), training=(False, True))
    def test_secondary_gates_see_only_the_tokens_of_their_group(
        self, k, training
    ):
        gate, x_ND = built_gate(k)
        multiply, work = tf.matmul, []

        def counted(a, b, **kwargs):
            product = multiply(a, b, **kwargs)
            work.append(a.shape[-1] * product.shape.num_elements())
            return product

        with mock.patch.object(tf, "matmul", counted):
            gate(x_ND, training=training)
        # While training twice: for the gates and for the noise.
        once = N * D * (G + k[0] * M)
        self.assertEqual(sum(work), once * (2 if training else 1))
        self.assertLess(once, N * D * E)

    def test_weights_of_the_paper_s_4096_experts(self):
        # MoE-4096-h: 16 groups of 256, depth 512, experts of 2 x 512 x 1024
        # and no biases, two LSTM layers of 512. Table 7 says 4303.4 million.
        shapes = []

        def note(layer, shape, **kwargs):
            shapes.append(shape)

        layer = SparseMoE(
            4096,
            gate=HierarchicalGate(16, 256, k=(2, 2)),
            expert=FeedForwardExperts(4096, 1024, use_bias=False),
        )
        with mock.patch.object(keras.layers.Layer, "add_weight", note):
            layer.build((None, 512))
        lstm = (512 + 512) * 4 * 512
        weights = sum(map(math.prod, shapes)) + 2 * lstm
        self.assertEqual(f"{weights / 1e6:.1f}", "4303.4")
        # The gates alone: both kernels of both levels.
        gates = weights - 2 * lstm - 4096 * 2 * 512 * 1024
        self.assertEqual(gates, 2 * 512 * (16 + 4096))


class TrainingAndInferenceTest(tf.test.TestCase):
    def test_inference_has_no_noise_and_counts_tokens(self):
        gate, x_ND = built_gate(k=(2, 3))
        routing = gate(x_ND)
        x_ND, kernel_GDM = x_ND.numpy(), gate.gate_kernel.numpy()
        logits_NG = x_ND @ gate.primary.gate_kernel.numpy()
        for n, x_D in enumerate(x_ND):
            expected = {
                group * M + expert
                for group in np.argsort(-logits_NG[n])[:2]
                for expert in np.argsort(-x_D @ kernel_GDM[group])[:3]
            }
            self.assertEqual(set(routing.expert_index[n].numpy()), expected)
        counts_E = np.bincount(np.ravel(routing.expert_index), minlength=E)
        self.assertAllEqual(routing.load, counts_E)

    def test_two_inference_calls_are_equal_to_the_bit(self):
        gate, x_ND = built_gate()
        for first, second in zip(gate(x_ND)[:4], gate(x_ND)[:4], strict=True):
            self.assertAllEqual(first, second)

    def test_untrained_gate_is_balanced_by_noise(self):
        gate = HierarchicalGate(G, M, k=(2, 2), seed=0)
        routing = gate(tf.ones((2000, D)), training=True)
        counts_E = np.bincount(np.ravel(routing.expert_index), minlength=E)
        # 4 * 2000 / 20 = 400 each, with a standard deviation of about 20.
        self.assertAllClose(counts_E, [400] * E, atol=100)
        self.assertAllClose(routing.load, [400] * E, atol=100)

    def test_levels_and_calls_have_noise_of_their_own(self):
        # One choice of 16 at each level: equal in one call of 16 by chance.
        gate = HierarchicalGate(16, 16, k=(1, 1), seed=0)
        calls = [
            int(gate(tf.ones((1, D)), training=True).expert_index[0, 0])
            for _ in range(64)
        ]
        same = sum(expert // 16 == expert % 16 for expert in calls)
        self.assertLess(same, 16)
        self.assertGreater(len(set(calls)), 32)

    def test_equal_seeds_agree_and_different_ones_differ(self):
        def run(seed):
            gate = HierarchicalGate(G, M, seed=seed)
            return gate(tf.ones((9, D)), training=True).expert_index

        self.assertAllEqual(run(3), run(3))
        self.assertNotAllEqual(run(3), run(4))


class ArgumentsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((0, 2), (2, 0), (G + 1, 2), (2, M + 1), (2, 2, 2))
    def test_k_out_of_range(self, *k):
        with self.assertRaisesRegex(
            ValueError, "`k` must be two.*num_groups=4"
        ):
            HierarchicalGate(G, M, k=k)

    def test_k_that_is_no_pair_of_integers(self):
        for k in (2, (2.0, 2), (True, 2), None):
            with self.assertRaisesRegex(ValueError, "`k` must be two.*groups"):
                HierarchicalGate(G, M, k=k)

    def test_numbers_of_groups_and_experts(self):
        for name in ("num_groups", "experts_per_group"):
            sizes = {"num_groups": G, "experts_per_group": M, name: 0}
            with self.assertRaisesRegex(ValueError, f"`{name}`.*{name}=0"):
                HierarchicalGate(**sizes)

    def test_negative_noise_epsilon(self):
        with self.assertRaisesRegex(ValueError, "`noise_epsilon`.*-1"):
            HierarchicalGate(G, M, noise_epsilon=-1)

    def test_number_of_experts_must_be_that_of_the_layer(self):
        with self.assertRaisesRegex(ValueError, "gate.num_experts=20"):
            SparseMoE(10, hidden_dim=4, gate=HierarchicalGate(G, M))


def test_load_of_two_replicas_is_that_of_their_whole_batch(two_replicas):
    # Each has half of the tokens, in other groups than the other half. With
    # noise they would differ from one device by their draws alone.
    rng = np.random.default_rng(0)
    x_ND = tf.constant(rng.normal(size=(2 * N, D)), "float32")
    with two_replicas.scope():
        shared = HierarchicalGate(G, M)
        shared.build((None, D))
    alone = HierarchicalGate(G, M)
    alone.build((None, D))
    for ours, theirs in zip(shared.weights, alone.weights, strict=True):
        if ours.trainable:
            ours.assign(rng.normal(size=ours.shape))
            theirs.assign(ours)

    @tf.function(autograph=False)
    def of_replica():
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        half_ND = x_ND[rank * N : (rank + 1) * N]
        return shared(half_ND, training=True).load

    def no_noise(shape, dtype, seed):
        return tf.zeros(shape, dtype)

    with mock.patch.object(keras.random, "normal", no_noise):
        expected_E = alone(x_ND, training=True).load
        loads = two_replicas.run(of_replica).values
    np.testing.assert_allclose(sum(map(np.array, loads)), expected_E, 1e-5)


class InitialValuesTest(tf.test.TestCase):
    def test_each_group_has_kernels_as_if_it_were_alone(self):
        initializer = keras.initializers.GlorotUniform(seed=3)
        gate = HierarchicalGate(4, 8, kernel_initializer=initializer)
        gate.build((None, 16))
        kernels_GDM = gate.gate_kernel.numpy()
        # Glorot's bound of one group: sqrt(6 / (fan_in + fan_out)).
        bound = math.sqrt(6 / (16 + 8))
        self.assertAllInRange(kernels_GDM, -bound, bound)
        self.assertGreater(np.abs(kernels_GDM).max(), 0.9 * bound)
        differences = [
            np.abs(kernels_GDM[i] - kernels_GDM[j]).max()
            for i in range(4)
            for j in range(i)
        ]
        self.assertGreater(min(differences), 0.1)
        self.assertGreater(np.abs(gate.primary.gate_kernel.numpy()).max(), 0.1)

    def test_noise_of_both_levels_begins_as_asked(self):
        gate = HierarchicalGate(2, 3, k=(1, 1), initial_noise=0.1)
        tokens_ND = tf.zeros((N, 4))
        with mock.patch.object(
            hierarchical, "noisy_top_k", wraps=hierarchical.noisy_top_k
        ) as secondary:
            routing = gate(tokens_ND, training=True)
        spread_SM = secondary.call_args.args[1]
        self.assertAllClose(tf.nn.softplus(spread_SM), tf.fill((N, 3), 0.1))
        self.assertAllClose(routing.metrics["noise"], N * 0.1, rtol=1e-5)
