"""Gradients of both levels against finite differences, with frozen noise."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from moe_keras import HierarchicalGate
from moe_keras.losses import importance_loss, load_loss

N, D, G, M = 6, 3, 3, 4
STEP = 1e-6


def built_gate(k):
    """A gate with random kernels, in float64, and tokens for it."""
    rng = np.random.default_rng(1)
    gate = HierarchicalGate(G, M, k=k, seed=0, dtype="float64")
    gate.build((None, D))
    for kernel in gate.trainable_variables:
        kernel.assign(rng.normal(size=kernel.shape))
    return gate, tf.Variable(rng.normal(size=(N, D)))


def numeric_gradient(run, variable):
    start = variable.numpy()
    gradient = np.zeros_like(start)
    for place in np.ndindex(*start.shape):
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[place] += sign * STEP
            variable.assign(moved)
            values.append(run())
        gradient[place] = (values[0] - values[1]) / (2 * STEP)
    variable.assign(start)
    return gradient


class GradientTest(tf.test.TestCase, parameterized.TestCase):
    def check(self, k, loss):
        gate, x_ND = built_gate(k)
        generator = gate.primary.seed_generator
        state = generator.state.numpy()
        variables = [
            x_ND,
            gate.primary.gate_kernel.value,
            gate.primary.noise_kernel.value,
            gate.gate_kernel.value,
            gate.noise_kernel.value,
        ]

        @tf.function
        def run():
            generator.state.assign(state)
            return loss(gate(x_ND, training=True))

        with tf.GradientTape() as tape:
            value = run()
        gradients = tape.gradient(value, variables)
        for i, variable in enumerate(variables):
            numeric = numeric_gradient(run, variable)
            self.assertAllClose(gradients[i], numeric, 1e-5, 1e-7)
            self.assertGreater(np.abs(numeric).max(), 1e-4)

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
