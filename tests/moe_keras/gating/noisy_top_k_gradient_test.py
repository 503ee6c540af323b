"""Gradients of the gate against finite differences, with frozen noise."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from moe_keras import NoisyTopKGate
from moe_keras.losses import cv_squared, importance_loss, load_loss

N, D, E = 6, 4, 5


def built_gate(k):
    """A gate with random kernels, in float64, and tokens for it."""
    rng = np.random.default_rng(0)
    gate = NoisyTopKGate(E, k=k, seed=0, dtype="float64")
    gate.build((None, D))
    gate.gate_kernel.assign(rng.normal(size=(D, E)))
    gate.noise_kernel.assign(rng.normal(size=(D, E)))
    return gate, tf.constant(rng.normal(size=(N, D)))


class GradientTest(tf.test.TestCase, parameterized.TestCase):
    """Finite differences in float64 with the noise frozen."""

    def check(self, k, loss):
        gate, x_ND = built_gate(k)
        state = gate.seed_generator.state.numpy()
        kernels = [gate.gate_kernel, gate.noise_kernel]

        @tf.function(autograph=False)
        def run(x_ND):
            gate.seed_generator.state.assign(state)
            return loss(gate(x_ND, training=True))

        with tf.GradientTape() as tape:
            tape.watch(x_ND)
            value = run(x_ND)
        gradients = tape.gradient(value, [x_ND, *gate.trainable_variables])
        step = 1e-6
        for d in np.eye(N * D).reshape(-1, N, D)[::5]:
            slope = (run(x_ND + step * d) - run(x_ND - step * d)) / (2 * step)
            self.assertAllClose(np.sum(gradients[0] * d), slope, 1e-5, 1e-7)
        for kernel, gradient in zip(kernels, gradients[1:], strict=True):
            start = kernel.numpy()
            numeric = np.zeros_like(start)
            for place in np.ndindex(D, E):
                values = []
                for sign in (1, -1):
                    moved = start.copy()
                    moved[place] += sign * step
                    kernel.assign(moved)
                    values.append(run(x_ND))
                numeric[place] = (values[0] - values[1]) / (2 * step)
            kernel.assign(start)
            self.assertAllClose(gradient, numeric, 1e-5, 1e-7)
            self.assertGreater(np.abs(numeric).max(), 1e-4)

    @parameterized.parameters(1, 2, 3)
    def test_load_loss_with_its_thresholds(self, k):
        self.check(k, lambda routing: load_loss(routing.load))

    @parameterized.parameters(1, 2, E)
    def test_importance_loss(self, k):
        self.check(k, lambda routing: importance_loss(routing.importance))

    @parameterized.parameters(1, 2, E)
    def test_task_through_the_gates(self, k):
        def task(routing):
            # As if expert i returned (i + 1)^2.
            values = tf.cast(routing.expert_index + 1, tf.float64) ** 2
            return tf.reduce_sum(tf.sin(routing.gate * values))

        self.check(k, task)

    def test_faded_noise_without_a_floor_has_finite_gradients(self):
        # softplus(-50) squared is 0 in float32, softplus(-200) is 0 itself;
        # the last two logits tie, and 0 / 0 is no probability.
        for spread in (-50.0, -200.0):
            gate = NoisyTopKGate(3, k=1, noise_epsilon=0.0)
            gate.build((None, 1))
            gate.gate_kernel.assign([[0.5, 0.0, 0.0]])
            gate.noise_kernel.assign([[spread] * 3])
            with tf.GradientTape() as tape:
                load = gate(tf.ones((2, 1)), training=True).load
                loss = load_loss(load)
            gradients = tape.gradient(loss, gate.trainable_variables)
            self.assertAllClose(load, [2.0, 0.0, 0.0])
            for gradient in gradients:
                self.assertAllInRange(gradient, -1.0, 1.0)

    def test_faded_noise_leaves_the_load_a_gradient(self):
        # softplus(-100) is 0: without a floor P would be 0 or 1.
        gate = NoisyTopKGate(3, k=1, noise_epsilon=0.01)
        gate.build((None, 1))
        gate.gate_kernel.assign([[0.02, 0.01, 0.0]])
        gate.noise_kernel.assign([[-100.0] * 3])
        with tf.GradientTape() as tape:
            routing = gate(tf.ones((1, 1)), training=True)
            loss = cv_squared(routing.load)
        gradient = tape.gradient(loss, gate.gate_kernel.value)
        self.assertGreater(np.abs(gradient).max(), 0.1)
