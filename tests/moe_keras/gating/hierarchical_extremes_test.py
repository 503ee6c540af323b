"""A hierarchy at its limits: no tokens, all experts, masks, low precision."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hierarchical_gates import D, E, G, M, N, built_gate

from moe_keras import HierarchicalGate
from moe_keras.losses import cv_squared, load_loss


class ExtremesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        num_tokens=(0, 1, 30),
        collapsed=(False, True),
        k=((1, 1), (2, 2), (G, M)),
        training=(False, True),
    )
    def test_everything_is_finite_and_no_gradient_none(
        self, num_tokens, collapsed, k, training
    ):
        gate, _ = built_gate(k)
        if collapsed:  # all tokens for the first groups and their first experts
            gate.primary.gate_kernel.assign(100 * np.eye(D, G))
            gate.gate_kernel.assign(np.tile(100 * np.eye(D, M), (G, 1, 1)))
            gate.primary.noise_kernel.assign(np.full((D, G), -100.0))
            gate.noise_kernel.assign(np.full((G, D, M), -100.0))
        x_ND = tf.ones((num_tokens, D), tf.float64) * [1.0, 0.0, 0.0]
        with tf.GradientTape() as tape:
            tape.watch(x_ND)
            routing = gate(x_ND, training=training)
            loss = cv_squared(routing.importance) + tf.reduce_sum(
                routing.gate**2
            )
            if training:  # at inference the load is a count
                loss += cv_squared(routing.load)
        kernels = gate.trainable_variables if training else []
        for tensor in routing[1:4]:
            self.assertAllEqual(np.isfinite(tensor), np.ones(tensor.shape))
        for gradient in tape.gradient(loss, [x_ND, *kernels]):
            self.assertAllEqual(np.isfinite(gradient), np.ones(gradient.shape))

    def test_group_without_a_token_is_called_back_by_the_load(self):
        # Group 2 is several standard deviations of the noise below the others.
        gate = HierarchicalGate(3, 2, k=(1, 1), seed=0, dtype="float64")
        gate.build((None, 1))
        gate.primary.gate_kernel.assign([[0.0, 0.0, -2.5]])
        with tf.GradientTape() as tape:
            routing = gate(tf.ones((20, 1), tf.float64), training=True)
            loss = load_loss(routing.load)
        chosen = np.ravel(routing.expert_index) // 2
        self.assertAllEqual(np.bincount(chosen, minlength=3) > 0, [1, 1, 0])
        # Its two experts share what chance gives the group.
        self.assertGreater(routing.load[4], 0)
        self.assertAllEqual(routing.load[4], routing.load[5])
        gradient = tape.gradient(loss, gate.primary.gate_kernel.value)
        self.assertLess(gradient[0, 2], -1e-6)  # up with it

    def test_all_groups_and_experts_give_everybody_a_gate(self):
        gate, x_ND = built_gate((G, M))
        routing = gate(x_ND, training=True)
        for experts in routing.expert_index.numpy():
            self.assertAllEqual(np.sort(experts), np.arange(E))
        self.assertAllClose(routing.load, [N] * E)

    def test_huge_gap_of_logits_still_chooses_all(self):
        gate = HierarchicalGate(3, 2, k=(2, 2))
        gate.build((None, 1))
        gate.primary.gate_kernel.assign([[0.0, 200.0, 100.0]])
        gate.gate_kernel.assign([[[0.0, 0.0]], [[0.0, 9.0]], [[9.0, 0.0]]])
        routing = gate(tf.ones((1, 1)))
        # e^-100 underflows, and is chosen all the same.
        self.assertAllEqual(routing.expert_index, [[3, 2, 4, 5]])
        self.assertAllEqual(routing.gate[0, 2:], [0.0, 0.0])

    @parameterized.parameters(0, 1)
    def test_one_choice_at_a_level_still_teaches_that_level(self, level):
        k = (1, 2) if level == 0 else (2, 1)
        gate, x_ND = built_gate(k)
        owner = (gate.primary, gate)[level]
        with tf.GradientTape() as tape:
            task = tf.reduce_sum(gate(x_ND, training=True).gate)
        gradient = tape.gradient(task, owner.gate_kernel.value)
        self.assertGreater(np.linalg.norm(gradient), 0.1)


class MaskTest(tf.test.TestCase):
    def test_padding_counts_nowhere_whatever_it_holds(self):
        mask = np.array([True, False, True, True, False, True, True])
        for training in (False, True):
            for filling in (0.0, 1e30, np.nan):
                gate, x_ND = built_gate()
                x = x_ND.numpy()
                x[~mask] = filling
                with tf.GradientTape() as tape:
                    routing = gate(tf.constant(x), mask=mask, training=training)
                    loss = cv_squared(routing.importance)
                    loss += tf.reduce_sum(routing.gate[:, 0])
                kernels = [gate.gate_kernel, gate.primary.gate_kernel]
                for gradient in tape.gradient(loss, [w.value for w in kernels]):
                    finite = np.isfinite(gradient)
                    self.assertAllEqual(finite, np.ones(gradient.shape))
                self.assertAllEqual(routing.expert_index[1], [-1] * 4)
                self.assertAllEqual(routing.gate[4], [0.0] * 4)
                self.assertAllClose(np.sum(routing.importance), 5.0)
                self.assertAllClose(np.sum(routing.load), 4 * 5, rtol=0.3)

    def test_real_tokens_are_routed_as_if_alone(self):
        gate, x_ND = built_gate()
        mask = np.array([True, True, False, True, False, False, True])
        padded, alone = gate(x_ND, mask=mask), gate(x_ND[mask])
        self.assertAllEqual(padded.expert_index[mask], alone.expert_index)
        self.assertAllClose(padded.gate[mask], alone.gate)
        self.assertAllClose(padded.importance, alone.importance)
        self.assertAllClose(padded.load, alone.load)

    def test_true_number_of_tokens_of_a_group_leaves_padding_out(self):
        # One group of two experts, both chosen: with the padding as well in
        # the denominator, it would be 3 * 3 / 8.
        gate = HierarchicalGate(1, 2, k=(1, 2), seed=0)
        mask = np.arange(8) < 3
        routing = gate(tf.ones((8, D)), mask=mask, training=True)
        self.assertAllEqual(routing.load, [3.0, 3.0])

    def test_everything_masked(self):
        gate, x_ND = built_gate()
        routing = gate(x_ND, mask=np.zeros(N, bool), training=True)
        self.assertAllEqual(routing.expert_index, -np.ones((N, 4)))
        for tensor in (routing.gate, routing.importance, routing.load):
            self.assertAllEqual(tensor, np.zeros(tensor.shape))


class PrecisionTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("mixed_bfloat16", "mixed_float16", "bfloat16")
    def test_router_is_float32_under_every_policy(self, policy):
        gate = HierarchicalGate(G, M, dtype=policy)
        routing = gate(tf.ones((N, D), "bfloat16"), training=True)
        for kernel in gate.trainable_variables:
            self.assertEqual(kernel.dtype, "float32")
        self.assertLen(gate.trainable_variables, 4)
        for tensor in (routing.gate, routing.importance, routing.load):
            self.assertEqual(tensor.dtype, tf.float32)
