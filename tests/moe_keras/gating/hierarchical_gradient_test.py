"""Gradients of both levels against finite differences, with frozen noise."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from finite_differences import check_gradients

from moe_keras import HierarchicalGate
from moe_keras.losses import importance_loss, load_loss

N, D, G, M = 6, 3, 3, 4


def built_gate(k):
    """A gate with random kernels, in float64, and tokens for it."""
    rng = np.random.default_rng(1)
    gate = HierarchicalGate(G, M, k=k, seed=0, dtype="float64")
    gate.build((None, D))
    for kernel in gate.trainable_variables:
        kernel.assign(rng.normal(size=kernel.shape))
    return gate, keras.Variable(rng.normal(size=(N, D)), dtype="float64")


class GradientTest(tf.test.TestCase, parameterized.TestCase):
    def check(self, k, loss):
        gate, x_ND = built_gate(k)
        generator = gate.primary.seed_generator
        state = generator.state.numpy()

        @tf.function(autograph=False)
        def run():
            generator.state.assign(state)
            return loss(gate(x_ND.value, training=True))

        check_gradients(run, [x_ND, *gate.trainable_variables])

    @parameterized.parameters((1, 1), (2, 1), (2, 2))
    def test_load_loss_at_both_levels(self, *k):
        self.check(k, lambda routing: load_loss(routing.load))

    @parameterized.parameters((1, 1), (2, 2), (G, M))
    def test_importance_loss(self, *k):
        self.check(k, lambda routing: importance_loss(routing.importance))

    @parameterized.parameters((1, 2), (2, 2), (G, M))
    def test_task_through_the_gates(self, *k):
        def task(routing):
            # As if expert i returned (i + 1)^2.
            values = tf.cast(routing.expert_index + 1, tf.float64) ** 2
            return tf.reduce_sum(tf.sin(routing.gate * values))

        self.check(k, task)
