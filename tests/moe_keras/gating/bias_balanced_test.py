"""A bias that chooses experts: what it does, and what it must not do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from small_gates import task_gradient

from moe_keras import BiasBalancedGate, SparseMoE


def gate_of_logits(num_experts=3, bias=None, dtype="float64", **kwargs):
    """A gate whose logits are its inputs."""
    gate = BiasBalancedGate(num_experts, dtype=dtype, **kwargs)
    gate.build((None, num_experts))
    gate.gate_kernel.assign(np.eye(num_experts))
    if bias is not None:
        gate.bias.assign(bias)
    return gate


def logits_of(scores):
    scores = np.array(scores)
    return np.log(scores / (1 - scores))


class WorkedExampleTest(tf.test.TestCase):
    def test_bias_chooses_and_never_weighs(self):
        # s + b = [.5, .6, .65]: experts 2 and 1, with gates .5 and .6 of 1.1.
        # By s alone it would be 0 and 1.
        gate = gate_of_logits(k=2, bias=[-0.3, 0.0, 0.15])
        routing = gate(logits_of([[0.8, 0.6, 0.5]]))
        self.assertAllEqual(routing.expert_index, [[2, 1]])
        self.assertAllClose(routing.gate, [[0.5 / 1.1, 0.6 / 1.1]])
        self.assertAllClose(routing.importance, [0, 0.6 / 1.1, 0.5 / 1.1])

    def test_bias_moves_by_the_sign_of_the_error(self):
        # Load [0, 1, 1], mean 2/3: [-.3 + .01, -.01, .15 - .01], of which the
        # mean, -.16 / 3, is subtracted.
        gate = gate_of_logits(k=2, bias=[-0.3, 0.0, 0.15], update_rate=0.01)
        gate(logits_of([[0.8, 0.6, 0.5]]), training=True)
        moved = np.array([-0.29, -0.01, 0.14]) + 0.16 / 3
        self.assertAllClose(gate.bias, moved)

    def test_gate_of_one_expert_is_its_score(self):
        routing = gate_of_logits(k=1)(logits_of([[0.2, 0.6, 0.5]]))
        self.assertAllClose(routing.gate, [[0.6]])

    def test_scores_that_underflow_still_give_gates(self):
        # sigmoid(-200) is 0 in float32; the ratio of two is e^1 nonetheless.
        gate = gate_of_logits(k=2, dtype="float32")
        routing = gate(np.array([[-200.0, -201.0, -300.0]]))
        e = np.exp(1)
        self.assertAllClose(np.sort(routing.gate), [[1 / (1 + e), e / (1 + e)]])


class BiasTest(tf.test.TestCase, parameterized.TestCase):
    def test_it_evens_out_the_load(self):
        # Scores are random, but those of expert 0 are higher by far.
        rng = np.random.default_rng(0)
        x = rng.normal(size=(400, 4)) + [2.0, 0.0, 0.0, -1.0]
        gate = gate_of_logits(4, k=2, update_rate=0.01)
        before = gate(x).load
        for _ in range(100):
            gate(x, training=True)
        self.assertGreater(np.max(before), 350)
        self.assertAllClose(gate(x).load, [200.0] * 4, atol=20)

    def test_its_mean_stays_zero(self):
        rng = np.random.default_rng(0)
        gate = gate_of_logits(5, k=2, update_rate=0.1, dtype="float32")
        largest = 0
        for _ in range(50):
            gate(rng.normal(size=(7, 5)), training=True)
            self.assertAllClose(np.mean(gate.bias), 0.0, atol=1e-6)
            largest = max(largest, np.abs(gate.bias).max())
        self.assertGreater(largest, 0.1)

    def test_it_has_no_gradient_and_stands_in_checkpoints(self):
        gate = gate_of_logits(3, k=2, bias=[0.1, 0.0, -0.1], dtype="float32")
        names = [weight.name for weight in gate.trainable_variables]
        self.assertEqual(names, ["gate_kernel"])
        self.assertFalse(gate.bias.trainable)
        self.assertEqual(gate.bias.dtype, "float32")
        path = self.get_temp_dir() + "/gate.weights.h5"
        model = keras.Sequential([SparseMoE(3, hidden_dim=4, gate=gate)])
        model.build((None, 3))
        model.save_weights(path)
        fresh_gate = BiasBalancedGate(3, k=2)
        fresh = keras.Sequential([SparseMoE(3, hidden_dim=4, gate=fresh_gate)])
        fresh.build((None, 3))
        fresh.load_weights(path)
        self.assertAllClose(fresh_gate.bias, [0.1, 0.0, -0.1])

    def test_inference_leaves_it_alone(self):
        gate = gate_of_logits(k=1)
        gate(np.eye(3) + [1.0, 0.0, 0.0])
        self.assertAllEqual(gate.bias, [0.0] * 3)
        self.assertAllEqual(gate.pending_load, [0.0] * 3)

    def test_task_alone_moves_the_gate(self):
        for k in (1, 2):
            gate = BiasBalancedGate(4, k=k)
            self.assertGreater(np.linalg.norm(task_gradient(gate)), 1e-3)


class AccumulationTest(tf.test.TestCase):
    """The small batches of a step move the bias as one large batch does."""

    def batches(self):
        # Load [3, 1, 0], then [0, 1, 3]: [3, 2, 3] together. One after the
        # other they would move the bias of expert 1 both times otherwise.
        return np.eye(3)[[0, 0, 0, 1]], np.eye(3)[[2, 1, 2, 2]]

    def of_whole_step(self):
        gate = gate_of_logits(k=1)
        gate(np.concatenate(self.batches()), training=True)
        return gate.bias.numpy()

    def test_whole_step(self):
        # Mean 8/3: signs [-, +, -], whose mean is -1/3.
        expected = 1e-3 * (np.array([-1, 1, -1]) + 1 / 3)
        self.assertAllClose(self.of_whole_step(), expected)

    def test_every_second_call(self):
        gate, (first, second) = (
            gate_of_logits(k=1, update_every=2),
            self.batches(),
        )
        for _ in range(2):
            gate(first, training=True)
            self.assertAllEqual(gate.pending_load, [3, 1, 0])
            gate.bias.assign([0.0] * 3)
            gate(second, training=True)
            self.assertAllClose(gate.bias, self.of_whole_step())
            self.assertAllEqual(gate.pending_load, [0, 0, 0])

    def test_two_calls_for_each_of_two_batches(self):
        gate, batches = gate_of_logits(k=1, update_every=2), self.batches()
        gate.batches_per_update = 2
        for batch in (*batches, batches[0]):
            gate(batch, training=True)
            self.assertAllEqual(gate.bias, [0.0] * 3)
        # Load [3, 1, 0] + [0, 1, 3] twice: [6, 4, 6], the signs of [3, 2, 3].
        gate(batches[1], training=True)
        self.assertAllClose(gate.bias, self.of_whole_step())
        self.assertAllEqual(gate.pending_calls, 0)

    def test_when_told(self):
        gate = gate_of_logits(k=1, update_every=None)
        for batch in self.batches():
            gate(batch, training=True)
        self.assertAllEqual(gate.bias, [0.0] * 3)
        gate.update_bias()
        self.assertAllClose(gate.bias, self.of_whole_step())
        gate.update_bias()  # nothing pending, nothing moved
        self.assertAllClose(gate.bias, self.of_whole_step())

    def test_in_fit_with_accumulated_gradients(self):
        gate = gate_of_logits(k=1, update_every=2, dtype="float32")
        layer = SparseMoE(3, hidden_dim=2, gate=gate)
        model = keras.Sequential([keras.Input((3,)), layer])
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
        model.compile(optimizer, "mse")
        x = np.concatenate(self.batches())
        model.fit(x, x, batch_size=4, shuffle=False, epochs=1, verbose=0)
        self.assertAllClose(gate.bias, self.of_whole_step())


class ArgumentsTest(tf.test.TestCase):
    def test_k_out_of_range(self):
        for k in (0, 6):
            with self.assertRaisesRegex(ValueError, f"`k`.*k={k}"):
                BiasBalancedGate(5, k=k)

    def test_update_rate_below_zero(self):
        with self.assertRaisesRegex(ValueError, "`update_rate`.*=-1"):
            BiasBalancedGate(5, k=2, update_rate=-1)

    def test_update_every_zero_calls(self):
        with self.assertRaisesRegex(ValueError, "`update_every`.*=0"):
            BiasBalancedGate(5, k=2, update_every=0)


@pytest.mark.parametrize("bias", (0.0, 0.25))
@pytest.mark.parametrize(
    "logits",
    [
        [20.0, 30.0, 25.0, 18.0],  # sigmoids of 1 in float32
        [100.0, 300.0, 200.0, 50.0],  # and in float64
        [-200.0, -150.0, -190.0, -300.0],  # sigmoids of 0
    ],
)
def test_larger_logit_wins_where_sigmoids_are_equal(logits, bias):
    gate = BiasBalancedGate(4, k=2)
    gate.build((None, 1))
    gate.gate_kernel.assign([logits])
    gate.bias.assign([bias] * 4)
    routing = gate(tf.ones((1, 1)))
    assert routing.expert_index.numpy().tolist() == [[1, 2]]


def test_bias_decides_before_logits_do():
    gate = BiasBalancedGate(3, k=2)
    gate.build((None, 1))
    gate.gate_kernel.assign([[30.0, 20.0, 40.0]])  # sigmoids are all 1
    gate.bias.assign([0.0, 0.01, -0.01])
    assert gate(tf.ones((1, 1))).expert_index.numpy().tolist() == [[1, 0]]


def plain_choice(scores, bias, k, num_groups, groups_per_token):
    """DeepSeek-V3's choice of experts for one token, in plain Python."""
    biased = scores + bias
    groups = np.split(np.arange(len(scores)), num_groups)
    worth = [np.sort(biased[group])[-2:].sum() for group in groups]
    taken = np.argsort(-np.array(worth))[:groups_per_token]
    experts = np.concatenate([groups[g] for g in taken])
    return experts[np.argsort(-biased[experts])[:k]]


class GroupsTest(tf.test.TestCase, parameterized.TestCase):
    def test_worked_example(self):
        # Groups [.9 .1] [.6 .55] [.3 .2]: of their sums 1.0, 1.15 and 0.5 the
        # second is best, although expert 0 has the largest score. Gates are
        # 2.5 * .6 / 1.15 and 2.5 * .55 / 1.15.
        gate = gate_of_logits(6, k=2, num_groups=3, gate_scale=2.5)
        routing = gate(logits_of([[0.9, 0.1, 0.6, 0.55, 0.3, 0.2]]))
        self.assertAllEqual(routing.expert_index, [[2, 3]])
        self.assertAllClose(routing.gate, [[1.5 / 1.15, 1.375 / 1.15]])

    @parameterized.parameters((4, 8, 4, 2), (3, 6, 6, 3), (2, 12, 2, 2))
    def test_equals_plain_loops(self, k, num_experts, num_groups, taken):
        rng = np.random.default_rng(k)
        logits = rng.normal(size=(50, num_experts))
        bias = rng.normal(size=num_experts) / 5
        gate = gate_of_logits(
            num_experts,
            bias,
            k=k,
            num_groups=num_groups,
            groups_per_token=taken,
            gate_scale=1.5,
        )
        routing = gate(logits)
        for row, experts, gates in zip(
            logits, routing.expert_index, routing.gate, strict=True
        ):
            scores = 1 / (1 + np.exp(-row))
            chosen = plain_choice(scores, bias, k, num_groups, taken)
            self.assertAllEqual(experts, chosen)
            expected = 1.5 * scores[chosen] / scores[chosen].sum()
            self.assertAllClose(gates, expected)

    def test_ties_stay_within_the_groups_taken(self):
        # All sigmoids round to 1: the first two groups are taken, and of
        # their experts those with the largest logits.
        gate = gate_of_logits(
            6, k=2, num_groups=3, groups_per_token=2, dtype="float32"
        )
        routing = gate(np.array([[50.0, 60, 90, 70, 95, 99]], "float32"))
        self.assertAllEqual(routing.expert_index, [[2, 3]])

    @parameterized.parameters((4, 1), (3, 4), (3, 0), (6, 2))
    def test_groups_that_do_not_fit_are_refused(self, groups, taken):
        with self.assertRaisesRegex(ValueError, "num_groups|groups_per_token"):
            BiasBalancedGate(6, k=3, num_groups=groups, groups_per_token=taken)
