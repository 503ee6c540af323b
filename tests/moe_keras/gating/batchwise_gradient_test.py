"""Gradients of strict balance against finite differences."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from batchwise_gates import D, E, built_gate

from moe_keras import SparseMoE


class GradientTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(k=(1, 2, E), what=("gates", "importance", "loss"))
    def test_equals_finite_differences(self, k, what):
        gate, x_ND = built_gate(k)

        weights = [gate.gate_kernel]
        if what == "loss":
            weights.append(gate.log_threshold)

        def run(x_ND, *values):
            with keras.StatelessScope(zip(weights, values, strict=True)):
                routing = gate(x_ND, training=True)
            if what == "loss":
                return routing.loss
            if what == "importance":
                return tf.reduce_sum(tf.sin(routing.importance))
            # As if expert i returned (i + 1)^2.
            values = tf.cast(routing.expert_index + 1, tf.float64) ** 2
            return tf.reduce_sum(tf.sin(routing.gate * values))

        start = [x_ND, *map(tf.convert_to_tensor, weights)]
        theory, numeric = tf.test.compute_gradient(run, start, delta=1e-6)
        for ours, theirs in zip(theory, numeric, strict=True):
            self.assertAllClose(ours, theirs, 1e-5, 1e-7)
            self.assertGreater(np.abs(theirs).max(), 1e-4)

    @parameterized.product(
        num_tokens=(0, 1, 3), k=(1, 2, E), capacity_factor=(None, 1.0)
    )
    def test_finite_and_never_none(self, num_tokens, k, capacity_factor):
        gate, _ = built_gate(k, dtype="float32")
        layer = SparseMoE(
            E, hidden_dim=3, gate=gate, capacity_factor=capacity_factor
        )
        x = tf.ones((num_tokens, D))
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**2) + sum(layer.losses)
        self.assertAllEqual(np.isfinite(loss), True)
        for gradient in tape.gradient(loss, layer.trainable_variables):
            finite = np.isfinite(gradient)
            self.assertAllEqual(finite, np.ones(gradient.shape))

    def test_one_expert_per_token_still_teaches_the_gate(self):
        gate, x_ND = built_gate(k=1)
        with tf.GradientTape() as tape:
            task = tf.reduce_sum(gate(x_ND, training=True).gate)
        gradient = tape.gradient(task, gate.gate_kernel.value)
        self.assertGreater(np.linalg.norm(gradient), 0.1)
