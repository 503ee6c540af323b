"""Top-k gating against numbers worked by hand."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from small_gates import task_gradient

from moe_keras import TopKGate

# The logits of two tokens are these logarithms, so that the softmax over all
# experts gives them back.
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6]])


def gate_of_logits(num_experts=3, **kwargs):
    """A gate whose logits are its inputs."""
    gate = TopKGate(num_experts, dtype="float64", **kwargs)
    gate.build((None, num_experts))
    gate.gate_kernel.assign(np.eye(num_experts))
    return gate


class WorkedExampleTest(tf.test.TestCase):
    def test_softmax_after_the_choice(self):
        # .5 and .3 of .8, .6 and .3 of .9.
        routing = gate_of_logits(k=2)(np.log(PROBABILITIES))
        self.assertAllEqual(routing.expert_index, [[0, 1], [2, 1]])
        self.assertAllClose(routing.gate, [[5 / 8, 3 / 8], [2 / 3, 1 / 3]])
        self.assertAllEqual(routing.load, [1, 2, 1])
        self.assertAllClose(routing.importance, [5 / 8, 3 / 8 + 1 / 3, 2 / 3])

    def test_softmax_before_the_choice(self):
        gate = gate_of_logits(k=2, softmax="before")
        routing = gate(np.log(PROBABILITIES))
        self.assertAllEqual(routing.expert_index, [[0, 1], [2, 1]])
        self.assertAllClose(routing.gate, [[0.5, 0.3], [0.6, 0.3]])

    def test_losses(self):
        # Choices [1, 2, 1] of 4, mean probabilities [.3, .3, .4]:
        # 3 * (.3/4 + .3*2/4 + .4/4) = 0.975. The second token's logits are
        # all raised by log 2, so log-sum-exp is 0 and log 2: the z-loss is
        # (0 + log(2)^2) / 2.
        gate = gate_of_logits(k=2, balance_loss_weight=2.0, z_loss_weight=10.0)
        logits = np.log(PROBABILITIES) + [[0.0], [np.log(2)]]
        loss = gate(logits, training=True).loss
        self.assertAllClose(loss, 2 * 0.975 + 10 * np.log(2) ** 2 / 2)

    def test_losses_of_weight_zero(self):
        gate = gate_of_logits(k=2, balance_loss_weight=0.0)
        loss = gate(np.log(PROBABILITIES), training=True).loss
        self.assertAllEqual(loss, 0.0)

    def test_an_underflowing_gate_still_has_its_expert(self):
        routing = gate_of_logits(k=2)(np.array([[0.0, 2000.0, 1000.0]]))
        self.assertAllEqual(routing.expert_index, [[1, 2]])
        self.assertAllEqual(routing.gate, [[1.0, 0.0]])  # e^-1000


class JitterTest(tf.test.TestCase):
    def test_while_training_inputs_vary_within_its_bounds(self):
        # One feature, logits (x, 0): log(gate_0 / gate_1) is the jittered x.
        gate = TopKGate(2, k=2, jitter=0.1, seed=0)
        gate.build((None, 1))
        gate.gate_kernel.assign([[1.0, 0.0]])
        gates = gate(2 * tf.ones((1000, 1)), training=True).gate
        x = np.log(gates[:, 0] / gates[:, 1])
        self.assertAllInRange(x, 2 * 0.9 - 1e-5, 2 * 1.1 + 1e-5)
        self.assertAllClose([x.min(), x.max()], [1.8, 2.2], atol=0.01)

    def test_inference_has_none(self):
        gate = TopKGate(3, k=2, jitter=0.5)
        x = tf.random.normal((9, 4), seed=0)
        self.assertAllEqual(gate(x).gate, gate(x).gate)
        self.assertNotAllClose(gate(x).gate, gate(x, training=True).gate)


class TaskGradientTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((1, "before"), (2, "before"), (2, "after"))
    def test_task_alone_moves_the_gate(self, k, softmax):
        gate = TopKGate(4, k=k, softmax=softmax, balance_loss_weight=0.0)
        self.assertGreater(np.linalg.norm(task_gradient(gate)), 1e-3)


class ArgumentsTest(tf.test.TestCase):
    def test_k_out_of_range(self):
        for k in (0, 6):
            with self.assertRaisesRegex(ValueError, f"`k`.*k={k}"):
                TopKGate(5, k=k)

    def test_softmax_after_the_choice_of_one(self):
        with self.assertRaisesRegex(ValueError, "`softmax` must be 'before'"):
            TopKGate(5, k=1)

    def test_softmax_elsewhere(self):
        with self.assertRaisesRegex(ValueError, "`softmax`.*'between'"):
            TopKGate(5, k=2, softmax="between")

    def test_weights_below_zero(self):
        for name in ("jitter", "balance_loss_weight", "z_loss_weight"):
            with self.assertRaisesRegex(ValueError, f"`{name}`.*{name}=-1"):
                TopKGate(5, k=2, **{name: -1})
