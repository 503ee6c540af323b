"""Top-p gating: few experts for easy tokens, more for hard ones."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from small_gates import task_gradient

from moe_keras import ThresholdGate

EASY = [0.70, 0.20, 0.06, 0.04]
MIDDLE = [0.40, 0.35, 0.15, 0.10]
HARD = [0.28, 0.26, 0.24, 0.22]


def gate_of_logits(num_experts=4, dtype="float64", **kwargs):
    """A gate whose logits are its inputs."""
    kwargs = {"k_max": 3, "mass": 0.6, "target": None, **kwargs}
    gate = ThresholdGate(num_experts, dtype=dtype, **kwargs)
    gate.build((None, num_experts))
    gate.gate_kernel.assign(np.eye(num_experts))
    return gate


class WorkedExampleTest(tf.test.TestCase):
    def test_experts_until_their_mass_is_reached(self):
        # .70 is enough for .6; so is .40 + .35; .28 + .26 is not.
        routing = gate_of_logits()(np.log([EASY, MIDDLE, HARD]))
        self.assertAllEqual(
            routing.expert_index, [[0, -1, -1], [0, 1, -1], [0, 1, 2]]
        )
        self.assertAllClose(
            routing.gate, [[0.7, 0, 0], [0.4, 0.35, 0], [0.28, 0.26, 0.24]]
        )
        self.assertAllEqual(routing.load, [3, 2, 1, 0])
        self.assertAllEqual(routing.metrics["experts_per_token"], 6)
        self.assertAllClose(routing.metrics["mass"], 3 * 0.6)

    def test_losses(self):
        # f = [3, 2, 1, 0] / 6, P = [1.38, .81, .45, .36] / 3:
        # 4 * (3 * 1.38 + 2 * .81 + .45) / 18 = 1.38.
        gate = gate_of_logits(balance_loss_weight=0.5, z_loss_weight=2.0)
        loss = gate(np.log([EASY, MIDDLE, HARD]), training=True).loss
        self.assertAllClose(loss, 0.5 * 1.38)

    def test_k_max_bounds_the_hardest(self):
        gate = gate_of_logits(k_max=2, mass=0.99)
        routing = gate(np.log([EASY, HARD]))
        self.assertAllEqual(routing.expert_index, [[0, 1], [0, 1]])

    def test_every_token_has_an_expert(self):
        gate = gate_of_logits(mass=1e-4)
        routing = gate(np.log([EASY, MIDDLE, HARD]))
        self.assertAllEqual(routing.expert_index, [[0, -1, -1]] * 3)


class TargetTest(tf.test.TestCase, parameterized.TestCase):
    def test_one_step_worked_by_hand(self):
        # Two experts per token, target 1.5: logit(.6) - .1 * .5.
        gate = gate_of_logits(target=1.5, target_rate=0.1)
        gate(np.log([EASY, MIDDLE, HARD]), training=True)
        logit = np.log(0.6 / 0.4) - 0.1 * 0.5
        self.assertAllClose(gate.mass, 1 / (1 + np.exp(-logit)))

    @parameterized.product(target=(1.2, 2.0, 3.5), sharpness=(0.5, 3.0))
    def test_mean_number_of_experts_is_reached(self, target, sharpness):
        x = sharpness * np.random.default_rng(0).normal(size=(300, 8))
        gate = gate_of_logits(8, k_max=6, target=target, target_rate=0.1)
        for _ in range(200):
            gate(x, training=True)
        experts = gate(x).metrics["experts_per_token"]
        self.assertAllClose(experts / 300, target, atol=0.05)

    def test_harder_tokens_have_more_experts(self):
        rng = np.random.default_rng(0)
        sharpness = np.linspace(0.2, 4.0, 300)[:, None]
        gate = gate_of_logits(8, k_max=6, target=2.5, target_rate=0.1)
        x = sharpness * rng.normal(size=(300, 8))
        for _ in range(200):
            gate(x, training=True)
        counts = np.sum(gate(x).expert_index >= 0, axis=1)
        hardest, easiest = counts[:100].mean(), counts[-100:].mean()
        self.assertGreater(hardest, easiest + 1)

    def test_inference_leaves_the_mass_alone(self):
        gate = gate_of_logits(target=1.0)
        gate(np.log([HARD]))
        self.assertAllClose(gate.mass, 0.6)

    def test_fixed_mass_without_target(self):
        gate = gate_of_logits()
        gate(np.log([HARD]), training=True)
        self.assertAllClose(gate.mass, 0.6)

    def test_unreachable_target_leaves_the_mass_within_bounds(self):
        # Sure tokens have one expert whatever the mass; it must come back
        # when they are unsure again.
        gate = gate_of_logits(target=2.0, target_rate=1.0, dtype="float32")
        for _ in range(50):
            gate(np.array([[200.0, 0.0, 0.0, 0.0]]), training=True)
        self.assertAllInRange(gate.mass, 0.9999, 1 - 1e-5)
        self.assertTrue(np.isfinite(gate.mass_logit))

    def test_mass_has_no_gradient(self):
        gate = gate_of_logits(target=2.0)
        names = [weight.name for weight in gate.trainable_variables]
        self.assertEqual(names, ["gate_kernel"])
        self.assertFalse(gate.mass_logit.trainable)


class TaskGradientTest(tf.test.TestCase):
    def test_tokens_with_one_expert_still_move_the_gate(self):
        gate = ThresholdGate(4, mass=1e-4, target=None, balance_loss_weight=0)
        self.assertGreater(np.linalg.norm(task_gradient(gate)), 1e-3)


class ArgumentsTest(tf.test.TestCase):
    def test_k_max_out_of_range(self):
        for k_max in (0, 6):
            with self.assertRaisesRegex(ValueError, f"`k_max`.*={k_max}"):
                ThresholdGate(5, k_max=k_max)

    def test_mass_out_of_range(self):
        for mass in (0, 1, 1.5):
            with self.assertRaisesRegex(ValueError, f"`mass`.*={mass}"):
                ThresholdGate(5, mass=mass)

    def test_target_out_of_range(self):
        for target in (0.5, 5):
            with self.assertRaisesRegex(ValueError, f"`target`.*={target}"):
                ThresholdGate(5, k_max=4, target=target)
