"""Experts that choose tokens, against a brute-force loop."""

import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from moe_keras import ExpertChoiceGate, SparseMoE

PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])


def gate_of_logits(num_experts=2, **kwargs):
    """A gate whose logits are its inputs."""
    gate = ExpertChoiceGate(
        num_experts, causal=False, dtype="float64", **kwargs
    )
    gate.build((None, num_experts))
    gate.gate_kernel.assign(np.eye(num_experts))
    return gate


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(-1, keepdims=True)


def brute_force(logits_NE, capacity):
    """Dict from token to its pairs (gate, expert), the largest gate first."""
    score_NE = softmax(logits_NE)
    chosen = {n: [] for n in range(len(logits_NE))}
    for expert in range(logits_NE.shape[1]):
        for token in np.argsort(-score_NE[:, expert])[:capacity]:
            chosen[token].append((score_NE[token, expert], expert))
    return {token: sorted(pairs)[::-1] for token, pairs in chosen.items()}


class WorkedExampleTest(tf.test.TestCase):
    def test_two_tokens_for_each_expert(self):
        # 1 * 4 / 2 = 2: expert 0 takes tokens 0 and 2 (.9 and .7), expert 1
        # tokens 3 and 1 (.8 and .4).
        routing = gate_of_logits(capacity_factor=1)(np.log(PROBABILITIES))
        self.assertAllEqual(routing.expert_index, [[0], [1], [0], [1]])
        self.assertAllClose(routing.gate, [[0.9], [0.4], [0.7], [0.8]])
        self.assertAllEqual(routing.load, [2, 2])
        self.assertAllClose(routing.importance, [1.6, 1.2])

    def test_three_tokens_for_each_expert(self):
        # Also token 1 for expert 0 (.6) and token 2 for expert 1 (.3).
        routing = gate_of_logits(capacity_factor=1.5)(np.log(PROBABILITIES))
        self.assertAllEqual(
            routing.expert_index, [[0, -1], [0, 1], [0, 1], [1, -1]]
        )
        self.assertAllClose(
            routing.gate, [[0.9, 0], [0.6, 0.4], [0.7, 0.3], [0.8, 0]]
        )

    def test_token_that_no_expert_takes(self):
        # One token each, of [.9 .1], [.5 .5], [.1 .9].
        gate = gate_of_logits(capacity_factor=2 / 3)
        x = np.log([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
        routing = gate(x)
        self.assertAllEqual(routing.expert_index, [[0], [-1], [1]])
        self.assertAllEqual(routing.metrics["tokens_without_expert"], 1)
        y = SparseMoE(2, hidden_dim=3, gate=gate)(x)
        self.assertAllEqual(y[1], [0.0, 0.0])


class ChoiceTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        capacity_factor=(0.5, 1.0, 2.0, 4.0), num_tokens=(1, 2, 9, 20)
    )
    def test_equals_brute_force(self, capacity_factor, num_tokens):
        logits = np.random.default_rng(0).normal(size=(num_tokens, 5))
        gate = gate_of_logits(5, capacity_factor=capacity_factor)
        routing = gate(logits)
        capacity = math.ceil(capacity_factor * num_tokens / 5)
        capacity = min(capacity, num_tokens)
        most = 0
        for token, pairs in brute_force(logits, capacity).items():
            most = max(most, len(pairs))
            gates = [gate for gate, _ in pairs]
            experts = [expert for _, expert in pairs]
            empty = routing.gate.shape[1] - len(pairs)
            self.assertAllEqual(
                routing.expert_index[token], experts + [-1] * empty
            )
            self.assertAllClose(routing.gate[token], gates + [0.0] * empty)
        self.assertEqual(routing.gate.shape[1], most)
        self.assertAllEqual(routing.load, [capacity] * 5)

    def test_training_and_inference_are_the_same(self):
        logits = np.random.default_rng(0).normal(size=(9, 4))
        gate = gate_of_logits(4)
        for ours, theirs in zip(
            gate(logits)[:4], gate(logits, training=True)[:4], strict=True
        ):
            self.assertAllEqual(ours, theirs)

    def test_scores_that_underflow_are_told_from_padding(self):
        # Expert 1 has no better token than one with p = 0.
        logits = np.array([[2000.0, 0.0], [0.0, 0.0]])
        mask = np.array([True, False])
        routing = gate_of_logits(capacity_factor=2)(logits, mask=mask)
        self.assertAllEqual(routing.expert_index, [[0, 1], [-1, -1]])

    def test_nothing_larger_than_the_scores(self):
        num_tokens, num_experts = 64, 32
        gate = ExpertChoiceGate(num_experts, causal=False)
        gate.build((None, 8))
        graph = (
            tf.function(gate, autograph=False)
            .get_concrete_function(tf.ones((num_tokens, 8)))
            .graph
        )
        sizes = [
            tensor.shape.num_elements() or 0
            for operation in graph.get_operations()
            for tensor in operation.outputs
            if tensor.shape.rank is not None
        ]
        self.assertLessEqual(max(sizes), num_tokens * num_experts)


class InLayerTest(tf.test.TestCase, parameterized.TestCase):
    def built_layer(self, **kwargs):
        gate = gate_of_logits(4)
        layer = SparseMoE(4, hidden_dim=6, gate=gate, dtype="float64", **kwargs)
        layer.build((None, 4))
        x = np.random.default_rng(0).normal(size=(9, 4))
        return layer, tf.constant(x)

    @parameterized.parameters(None, 1.0)
    def test_equals_the_sum_over_experts_that_took_the_token(self, factor):
        layer, x_ND = self.built_layer(capacity_factor=factor)
        expected = np.zeros((9, 4))
        for token, pairs in brute_force(x_ND.numpy(), 5).items():
            all_experts = layer.experts(np.tile(x_ND[token], (4, 1, 1)))
            for gate, expert in pairs:
                expected[token] += gate * all_experts[expert, 0]
        self.assertAllClose(layer(x_ND), expected)
        self.assertEqual(layer.routing_statistics().overflow, 0)

    def test_unknown_batch_in_a_graph_gives_the_same_gradients(self):
        layer, x_ND = self.built_layer()

        def gradients(x_ND):
            with tf.GradientTape() as tape:
                tape.watch(x_ND)
                loss = tf.reduce_sum(layer(x_ND, training=True) ** 2)
            return tape.gradient(loss, [x_ND, *layer.trainable_variables])

        signature = [tf.TensorSpec((None, 4), tf.float64)]
        in_graph = tf.function(
            gradients, input_signature=signature, autograph=False
        )
        for ours, theirs in zip(in_graph(x_ND), gradients(x_ND), strict=True):
            self.assertAllClose(ours, theirs)
            self.assertGreater(np.abs(ours).max(), 0)


class CausalityTest(tf.test.TestCase):
    def test_a_later_token_decides_what_an_earlier_one_gets(self):
        # Why `causal` is asked for: token 1 loses expert 0 to token 3.
        gate = gate_of_logits(capacity_factor=1)
        first = PROBABILITIES.copy()
        first[3] = [0.1, 0.9]
        first[2] = [0.5, 0.5]
        second = first.copy()
        second[3] = [0.95, 0.05]
        before, after = gate(np.log(first)), gate(np.log(second))
        self.assertAllEqual(before.expert_index[1], [0])
        self.assertNotIn(0, after.expert_index[1])

    def test_it_must_be_denied(self):
        with self.assertRaisesRegex(ValueError, "later ones.*NoisyTopKGate"):
            ExpertChoiceGate(4, causal=True)
        with self.assertRaises(TypeError):
            ExpertChoiceGate(4)

    def test_capacity_factor_of_zero(self):
        with self.assertRaisesRegex(ValueError, "`capacity_factor`.*=0"):
            ExpertChoiceGate(4, causal=False, capacity_factor=0)

    def test_capacity_factor_that_is_no_number(self):
        for factor in (np.nan, np.inf, True, None):
            with self.assertRaisesRegex(ValueError, "`capacity_factor`.*="):
                ExpertChoiceGate(4, causal=False, capacity_factor=factor)
