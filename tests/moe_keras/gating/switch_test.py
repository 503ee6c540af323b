"""Switch routing against numbers worked by hand and published ones."""

import numpy as np
import tensorflow as tf

from moe_keras import SparseMoE, SwitchGate

E = 4


def gate_of_logits(num_experts=E, **kwargs):
    """A gate whose logits are its inputs."""
    kwargs = {"balance_loss_weight": 1.0, "z_loss_weight": 0.0, **kwargs}
    gate = SwitchGate(num_experts, jitter=0.0, dtype="float64", **kwargs)
    gate.build((None, num_experts))
    gate.gate_kernel.assign(np.eye(num_experts))
    return gate


class WorkedExampleTest(tf.test.TestCase):
    def test_gate_is_the_probability_among_all_experts(self):
        p = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6]])
        routing = gate_of_logits(3)(np.log(p), training=True)
        self.assertAllEqual(routing.expert_index, [[0], [2]])
        self.assertAllClose(routing.gate, [[0.5], [0.6]])
        self.assertAllClose(routing.importance, [0.5, 0.0, 0.6])
        # f = [1/2, 0, 1/2], P = [.3, .3, .4]: 3 * (.15 + .2).
        self.assertAllClose(routing.loss, 1.05)

    def test_loss_is_1_at_perfect_balance(self):
        loss = gate_of_logits()(5 * np.eye(E), training=True).loss
        self.assertAllClose(loss, 1.0)

    def test_loss_is_the_number_of_experts_at_collapse(self):
        logits = np.tile([100.0, 0.0, 0.0, 0.0], (7, 1))
        loss = gate_of_logits()(logits, training=True).loss
        self.assertAllClose(loss, E)

    def test_published_values(self):
        # The test of Switch Transformers in Hugging Face's transformers, made
        # with the authors' own code: two groups of three tokens, balance loss
        # 1.000308 and z-loss 0.4789799, both means over the groups.
        tokens = [
            [
                [0.6433916, 0.18188512, 0.02240455, 0.563781],
                [0.5526401, 0.0958724, 0.34253013, 0.03644359],
                [0.08744538, 0.7909105, 0.35205448, 0.53364205],
            ],
            [
                [0.02900076, 0.4168595, 0.5802449, 0.91486526],
                [0.27414513, 0.14991808, 0.9383501, 0.5209162],
                [0.51207185, 0.90618336, 0.7309413, 0.95533276],
            ],
        ]
        kernel = [
            [0.02008116, 0.00620062],
            [-0.00811031, -0.00031623],
            [-0.03542127, 0.02703803],
            [0.02335377, -0.02971946],
        ]

        def mean_loss(**weights):
            gate = SwitchGate(2, jitter=0.0, **weights)
            gate.build((None, 4))
            gate.gate_kernel.assign(kernel)
            losses = [
                gate(np.array(x, "float32"), training=True).loss for x in tokens
            ]
            return np.mean(losses)

        balance = mean_loss(balance_loss_weight=1.0, z_loss_weight=0.0)
        self.assertAllClose(balance, 1.000308, atol=1e-6)
        z = mean_loss(balance_loss_weight=0.0, z_loss_weight=1.0)
        self.assertAllClose(z, 0.4789799, atol=1e-6)


class BehaviourTest(tf.test.TestCase):
    def test_task_alone_moves_the_gate(self):
        gate = SwitchGate(E, balance_loss_weight=0.0, z_loss_weight=0.0)
        layer = SparseMoE(E, hidden_dim=6, gate=gate)
        with tf.GradientTape() as tape:
            y = layer(tf.random.normal((9, 3), seed=0), training=True)
            task = tf.reduce_sum(y**2)
        gradient = tape.gradient(task, gate.gate_kernel.value)
        self.assertGreater(np.linalg.norm(gradient), 1e-3)

    def test_jitter_is_for_training_only(self):
        gate = SwitchGate(E, jitter=0.5)
        x = tf.random.normal((9, 3), seed=0)
        self.assertAllEqual(gate(x).gate, gate(x).gate)
        first, second = (gate(x, training=True).gate for _ in range(2))
        self.assertNotAllClose(first, second)

    def test_balance_loss_spreads_tokens_over_experts(self):
        # All 64 tokens prefer expert 0; gradient descent on the loss alone.
        gate = gate_of_logits()
        rng = np.random.default_rng(0)
        x = tf.constant(rng.normal(size=(64, E)) + [3.0, 0.0, 0.0, 0.0])
        before = gate(x).load
        for _ in range(100):
            with tf.GradientTape() as tape:
                loss = gate(x, training=True).loss
            gradient = tape.gradient(loss, gate.gate_kernel.value)
            gate.gate_kernel.assign_sub(0.3 * gradient)
        self.assertGreater(np.max(before), 55)
        self.assertLess(np.max(gate(x).load), 32)

    def test_weights_below_zero(self):
        for name in ("jitter", "balance_loss_weight", "z_loss_weight"):
            with self.assertRaisesRegex(ValueError, f"`{name}`.*{name}=-1"):
                SwitchGate(5, **{name: -1})
