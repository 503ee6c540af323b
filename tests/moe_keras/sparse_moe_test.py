"""SparseMoE: its output, its losses, its padding, at every extreme."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from moe_keras import FeedForwardExperts, NoisyTopKGate, SparseMoE

N, D, H, E = 9, 4, 6, 5
# Dropless, and with room for every token: the same results.
CAPACITIES = (None, float(E))


def built_layer(k=2, seed=0, **kwargs):
    """A layer whose gate has learnt something, and tokens for it."""
    keras.utils.set_random_seed(seed)
    layer = SparseMoE(E, k=k, hidden_dim=H, seed=seed, **kwargs)
    layer.build((None, D))
    rng = np.random.default_rng(seed)
    layer.gate.gate_kernel.assign(rng.normal(size=(D, E)))
    layer.gate.noise_kernel.assign(rng.normal(size=(D, E)))
    return layer, rng.normal(size=(N, D)).astype("float32")


def identity_experts():
    """Experts that return their input: linear, with two unit kernels."""
    experts = FeedForwardExperts(E, D, activation="linear", use_bias=False)
    experts.build((E, None, D))
    for kernel in experts.weights:
        kernel.assign(np.stack([np.eye(D)] * E))
    return experts


def loss_and_gradients(layer, x, **kwargs):
    with tf.GradientTape() as tape:
        y = layer(x, training=True, **kwargs)
        loss = tf.reduce_sum(y**2) + sum(layer.losses)
    return loss, tape.gradient(loss, layer.trainable_variables)


class OutputTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(k=(1, 2, E), capacity_factor=CAPACITIES)
    def test_equals_equation_1_token_by_token(self, k, capacity_factor):
        layer, x_ND = built_layer(k, capacity_factor=capacity_factor)
        routing = layer.gate(x_ND)
        expected = np.zeros((N, D))
        for n in range(N):
            all_experts = layer.experts(np.tile(x_ND[n], (E, 1, 1)))
            for j in range(k):
                expert = int(routing.expert_index[n, j])
                expected[n] += routing.gate[n, j] * all_experts[expert, 0]
        self.assertAllClose(layer(x_ND), expected)

    @parameterized.parameters(*CAPACITIES)
    def test_identity_experts_return_the_input(self, capacity_factor):
        # Gates sum to 1: not gate * gate * x, nor its logarithm, nor |x|.
        layer = SparseMoE(
            E, 3, expert=identity_experts(), capacity_factor=capacity_factor
        )
        x = np.random.default_rng(0).normal(size=(N, D)) * 1000
        self.assertAllClose(layer(x, training=True), x, rtol=1e-5)

    @parameterized.parameters((1,), (2, 3), (2, 1, 3))
    def test_any_leading_dimensions(self, *shape):
        layer, _ = built_layer()
        x = np.random.default_rng(1).normal(size=(*shape, D))
        flat = layer(x.reshape(-1, D))
        self.assertAllClose(layer(x), np.reshape(flat, (*shape, D)))

    def test_a_token_does_not_depend_on_its_batch(self):
        layer, x_ND = built_layer()
        together = layer(x_ND)
        for n in range(N):
            self.assertAllClose(layer(x_ND[n : n + 1])[0], together[n])

    def test_inference_is_equal_to_the_bit(self):
        layer, x_ND = built_layer()
        self.assertAllEqual(layer(x_ND), layer(x_ND))

    @parameterized.parameters(*CAPACITIES)
    def test_experts_hear_that_they_train(self, capacity_factor):
        experts = FeedForwardExperts(E, H, dropout=0.5)
        layer = SparseMoE(E, 2, expert=experts, capacity_factor=capacity_factor)
        layer.build((None, D))
        # A constant gate: what differs is dropout alone.
        layer.gate.gate_kernel.assign(100 * np.eye(D, E))
        x = tf.ones((N, D)) * [2.0, 1.0, 0.0, 0.0]
        self.assertAllEqual(layer(x), layer(x))
        self.assertNotAllClose(layer(x), layer(x, training=True))

    def test_expert_of_another_output_size(self):
        layer = SparseMoE(E, 2, expert=FeedForwardExperts(E, H, output_dim=3))
        self.assertEqual(layer(tf.ones((2, 7, D))).shape, (2, 7, 3))
        self.assertEqual(layer.compute_output_shape((2, 7, D)), (2, 7, 3))

    def test_600_tokens_to_one_expert_in_bfloat16(self):
        # Counters in bfloat16 would stop at 256.
        x = np.random.default_rng(0).normal(size=(600, D))
        outputs = []
        for policy in ("float32", "mixed_bfloat16"):
            keras.utils.set_random_seed(0)
            layer = SparseMoE(E, 1, H, capacity_factor=E, dtype=policy)
            outputs.append(tf.cast(layer(x), "float32"))
            self.assertEqual(layer.routing_statistics().load[0], 600)
            self.assertEqual(layer.routing_statistics().overflow, 0)
        # 1/8 apart would be a wrong row: outputs are about 0.2 in size.
        self.assertAllClose(*outputs, atol=0.01)


class ExtremesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        num_tokens=(0, 1, 3),
        collapsed=(False, True),
        capacity_factor=(None, 1.0),
        k=(1, 2),
    )
    def test_gradients_are_finite_and_never_none(
        self, num_tokens, collapsed, capacity_factor, k
    ):
        # Always more experts than tokens; or all tokens for one expert.
        layer, _ = built_layer(k, capacity_factor=capacity_factor)
        if collapsed:
            layer.gate.gate_kernel.assign(100 * np.eye(D, E))
            layer.gate.noise_kernel.assign(np.full((D, E), -100.0))
        x = np.ones((num_tokens, D), "float32") * [1, 0, 0, 0]
        loss, gradients = loss_and_gradients(layer, x)
        self.assertTrue(np.isfinite(loss))
        for gradient in gradients:
            self.assertTrue(np.isfinite(gradient).all())

    def test_one_expert_per_token_still_teaches_the_gate(self):
        layer, x_ND = built_layer(
            k=1, importance_loss_weight=0, load_loss_weight=0
        )
        _, gradients = loss_and_gradients(layer, x_ND)
        self.assertGreater(np.linalg.norm(gradients[0]), 1e-3)

    @parameterized.parameters(*CAPACITIES)
    def test_nothing_as_large_as_tokens_times_experts_times_depth(
        self, capacity_factor
    ):
        num_tokens, num_experts, depth = 64, 32, 8
        factor = capacity_factor and 1.25
        layer = SparseMoE(num_experts, 2, 4, capacity_factor=factor)

        @tf.function(autograph=False)
        def step(x):
            return loss_and_gradients(layer, x)

        graph = step.get_concrete_function(tf.ones((num_tokens, depth))).graph
        sizes = [
            tensor.shape.num_elements() or 0
            for operation in graph.get_operations()
            for tensor in operation.outputs
            if tensor.shape.rank is not None
        ]
        # N x E is 2,048, N x E x D is 16,384, N x E x C is 10,240.
        self.assertLessEqual(max(sizes), 2 * num_tokens * num_experts)


class LossesTest(tf.test.TestCase):
    def losses(self, importance, load):
        layer, x_ND = built_layer(
            importance_loss_weight=importance, load_loss_weight=load
        )
        layer(x_ND, training=True)
        return float(sum(layer.losses))

    def test_linear_in_each_weight(self):
        importance, load = self.losses(1, 0), self.losses(0, 1)
        self.assertGreater(importance, 0)
        self.assertGreater(load, 0)
        self.assertNotAllClose(importance, load)
        self.assertAllClose(self.losses(3, 0), 3 * importance)
        self.assertAllClose(self.losses(0, 3), 3 * load)
        self.assertAllClose(self.losses(2, 5), 2 * importance + 5 * load)

    def test_a_gate_that_balances_itself_brings_its_own_loss(self):
        class Quarter(NoisyTopKGate):
            balances_itself = True

            def call(self, inputs, **kwargs):
                return super().call(inputs, **kwargs)._replace(loss=0.25)

        layer = SparseMoE(E, hidden_dim=H, gate=Quarter(E, k=2))
        layer(np.ones((N, D)), training=True)
        self.assertAllClose(layer.losses, [0.25])

    def test_none_at_inference(self):
        layer, x_ND = built_layer()
        layer(x_ND)
        self.assertEmpty(layer.losses)

    def test_evaluate_reports_the_plain_loss(self):
        layer, x_ND = built_layer(load_loss_weight=100.0)
        model = keras.Sequential([keras.Input((D,)), layer])
        model.compile("sgd", "mse")
        plain = np.mean((model.predict(x_ND, verbose=0) - 1) ** 2)
        logs = model.evaluate(
            x_ND, np.ones((N, D)), return_dict=True, verbose=0
        )
        self.assertAllClose(logs["loss"], plain)

    def test_recomputed_experts_change_no_gradient_and_no_counter(self):
        results = []
        for recompute in (False, True):
            keras.utils.set_random_seed(0)
            experts = FeedForwardExperts(E, H, recompute=recompute)
            layer = SparseMoE(E, 2, expert=experts, seed=0)
            loss, gradients = loss_and_gradients(layer, tf.ones((N, D)))
            counted = layer.routing_statistics()
            results.append([loss, *gradients, counted.load, counted.tokens])
        for kept, recomputed in zip(*results, strict=True):
            self.assertAllClose(kept, recomputed)


class MaskTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(training=(False, True), capacity_factor=(None, 1.0))
    def test_content_of_padding_changes_nothing(
        self, training, capacity_factor
    ):
        mask = np.arange(N) % 3 != 1

        def run(filling):
            layer, x_ND = built_layer(capacity_factor=capacity_factor)
            x_ND[~mask] = filling
            with tf.GradientTape() as tape:
                y = layer(x_ND, mask=mask, training=training)
                loss = tf.reduce_sum(y**2) + sum(layer.losses)
            gradients = tape.gradient(loss, layer.trainable_variables)
            statistics = layer.routing_statistics()
            self.assertEqual(statistics.tokens, 6)
            self.assertEqual(statistics.load.sum(), 2 * 6)
            self.assertAllEqual(y[~mask], np.zeros((3, D)))
            return [y, loss, *gradients, *statistics]

        for zeros, other in zip(run(0.0), run(np.nan), strict=True):
            self.assertAllEqual(zeros, other)

    def test_amount_of_padding_changes_nothing(self):
        layer, x_ND = built_layer()
        padded = np.concatenate([x_ND, np.ones((20, D), "float32")])
        y = layer(padded, mask=np.arange(N + 20) < N)
        self.assertAllClose(y[:N], layer(x_ND))

    def test_implicit_mask_equals_the_argument_and_is_passed_on(self):
        layer, _ = built_layer()
        ids = np.array([[3, 1, 0], [2, 0, 0]])
        embedding = keras.layers.Embedding(4, D, mask_zero=True)
        implicit = layer(embedding(ids))
        self.assertAllEqual(implicit._keras_mask, ids != 0)
        explicit = layer(tf.constant(embedding(ids).numpy()), mask=ids != 0)
        self.assertAllClose(implicit, explicit)
        self.assertAllEqual(implicit[ids == 0], np.zeros((3, D)))

    def test_everything_masked(self):
        layer, x_ND = built_layer()
        loss, gradients = loss_and_gradients(
            layer, x_ND, mask=np.zeros(N, bool)
        )
        self.assertAllEqual(loss, 0.0)
        for gradient in gradients:
            self.assertAllEqual(gradient, np.zeros(gradient.shape))


class ArgumentsTest(tf.test.TestCase):
    def test_capacity_factor_of_zero(self):
        with self.assertRaisesRegex(ValueError, "`capacity_factor`.*0"):
            SparseMoE(5, hidden_dim=H, capacity_factor=0)

    def test_unknown_depth(self):
        with self.assertRaisesRegex(ValueError, "last dimension"):
            SparseMoE(5, hidden_dim=H).build((None, None))

    def test_every_wrong_argument_is_named_while_the_layer_is_made(self):
        nan = float("nan")
        for name, wrong in (
            ("num_experts", (0, None, 2.0, True)),
            ("k", (0, E + 1, 2.0, True, "2")),
            ("hidden_dim", (0, 1.5)),
            ("capacity_factor", (0, -1.0, nan, float("inf"), True, "1")),
            ("gate", ("noisy", NoisyTopKGate)),
            ("importance_loss_weight", (-0.1, nan, "0.1")),
            ("load_loss_weight", (-0.1, nan, True)),
        ):
            for value in wrong:
                arguments = {"num_experts": E, "hidden_dim": H, name: value}
                with self.assertRaisesRegex(
                    ValueError, f"`{name}` must .*Received: {name}="
                ):
                    SparseMoE(**arguments)

    def test_mask_of_another_shape(self):
        layer, x_ND = built_layer()
        for shape in ((N + 1,), (N, 1), (N, D), ()):
            with self.assertRaisesRegex(ValueError, "`mask`.*mask.shape="):
                layer(x_ND, mask=tf.ones(shape, bool))
        # As many tokens, but not in the same order.
        with self.assertRaisesRegex(ValueError, r"shape=\(3, 2\).*\(2, 3, 4\)"):
            layer(tf.ones((2, 3, D)), mask=tf.ones((3, 2), bool))

    def test_mask_of_unknown_shape_is_taken(self):
        layer, x_ND = built_layer()
        signature = [tf.TensorSpec((N, D)), tf.TensorSpec(None, "bool")]
        run = tf.function(
            lambda x, mask: layer(x, mask=mask), signature, autograph=False
        )
        mask = np.arange(N) % 3 != 1
        self.assertAllClose(run(x_ND, mask), layer(x_ND, mask=mask))
