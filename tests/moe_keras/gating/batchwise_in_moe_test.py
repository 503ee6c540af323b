"""`SparseMoE` with strict balance: token by token, in graphs, in precisions."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from batchwise_gates import D, E, N, built_gate
from small_gates import dense_gates

from moe_keras import BatchwiseGate, SparseMoE


class SparseMoETest(tf.test.TestCase, parameterized.TestCase):
    """K depends on the batch: in a graph nobody knows it beforehand."""

    @parameterized.product(
        training=(False, True), capacity_factor=(None, 1.0, 4.0)
    )
    def test_graph_equals_eager_call(self, training, capacity_factor):
        gate, _ = built_gate(dtype="float32")
        layer = SparseMoE(
            E, hidden_dim=3, gate=gate, capacity_factor=capacity_factor
        )

        def results(x, mask):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, mask=mask, training=training)
                loss = tf.reduce_sum(tf.sin(y)) + sum(layer.losses)
            weights = [weight.value for weight in layer.trainable_variables]
            return y, *tape.gradient(
                loss, [x, *weights], unconnected_gradients="zero"
            )

        graph = tf.function(
            results,
            input_signature=[
                tf.TensorSpec((None, D)),
                tf.TensorSpec((None,), "bool"),
            ],
            autograph=False,
        )
        rng = np.random.default_rng(0)
        for num_tokens in (N, 1, 12, 0):
            x = tf.constant(rng.normal(size=(num_tokens, D)), "float32")
            mask = tf.constant(np.arange(num_tokens) % 4 != 2)
            for ours, theirs in zip(
                graph(x, mask), results(x, mask), strict=True
            ):
                self.assertAllClose(ours, theirs, 1e-5, 1e-6)

    def test_equals_equation_1_token_by_token(self):
        gate, x_ND = built_gate(dtype="float32")
        layer = SparseMoE(E, hidden_dim=3, gate=gate)
        for training in (False, True):
            gates_NE = dense_gates(gate(x_ND, training=training), E)
            y_ND = layer(x_ND, training=training)
            for n, x_D in enumerate(x_ND):
                outputs_E1D = layer.experts(np.tile(x_D, (E, 1, 1))).numpy()
                expected_D = gates_NE[n] @ outputs_E1D[:, 0]
                self.assertAllClose(y_ND[n], expected_D, 1e-5, 1e-5)

    def test_statistics_show_the_experts_per_token(self):
        gate, x_ND = built_gate(dtype="float32")
        layer = SparseMoE(E, hidden_dim=3, gate=gate)
        layer(x_ND)
        counted = layer.routing_statistics()
        self.assertAllEqual(
            counted.load.sum(), gate(x_ND).metrics["experts_per_token"]
        )
        self.assertEqual(counted.tokens, N)
        self.assertAllClose(
            counted.mean_k, np.mean(np.sum(gate(x_ND).gate > 0, axis=1))
        )


class PrecisionTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("mixed_bfloat16", "mixed_float16", "bfloat16")
    def test_router_is_float32_under_every_policy(self, policy):
        gate = BatchwiseGate(E, k=2, dtype=policy)
        routing = gate(tf.ones((N, D), "bfloat16"), training=True)
        for weight in gate.trainable_variables:
            self.assertEqual(weight.dtype, "float32")
        for tensor in (*routing[1:5], *routing.metrics.values()):
            self.assertEqual(tensor.dtype, tf.float32)
