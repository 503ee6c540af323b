"""SparseMoE in training: XLA, replicas, balance, parts of the user's own."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from moe_keras import NoisyTopKGate, Routing, SparseMoE
from moe_keras.losses import cv_squared

N, D, H, E = 8, 4, 6, 3
LOAD = [1.0, 2.0, 4.0]  # of an expert, over its importance


@keras.saving.register_keras_serializable(package="tests")
class PlainGate(keras.layers.Layer):
    """The least that a gate has to be: no noise, no masks, its own loss."""

    def __init__(self, num_experts, **kwargs):
        super().__init__(**kwargs)
        self.num_experts = num_experts

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.num_experts),
            initializer=keras.initializers.RandomNormal(seed=3),
        )

    def call(self, inputs, mask=None, training=False):
        share_NE = tf.nn.softmax(tf.matmul(inputs, self.kernel) * 20)
        gate, expert_index = tf.math.top_k(share_NE, 2)
        self.add_loss(tf.constant(7.0))
        total_E = tf.reduce_sum(share_NE, 0)
        # Both are sums over tokens: only so can replicas add them up.
        return Routing(
            expert_index, gate, importance=total_E, load=total_E * LOAD
        )

    def get_config(self):
        return {**super().get_config(), "num_experts": self.num_experts}


def small_model(**kwargs):
    keras.utils.set_random_seed(0)
    kwargs = {"num_experts": E, "hidden_dim": H, **kwargs}
    layer = SparseMoE(**kwargs)
    return keras.Sequential([keras.Input((5, D), batch_size=N), layer]), layer


def small_data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, N, 5, D)).astype("float32")


class XlaTest(tf.test.TestCase, parameterized.TestCase):
    def test_it_needs_a_capacity_or_experts_in_blocks(self):
        self.assertTrue(SparseMoE(E, 2, H).supports_jit)
        own = {"expert": lambda: keras.layers.Dense(D)}
        self.assertFalse(SparseMoE(E, 2, **own).supports_jit)
        self.assertTrue(
            SparseMoE(E, 2, **own, capacity_factor=1.0).supports_jit
        )

    @parameterized.parameters(None, 1.0)
    def test_fit_compiles(self, capacity_factor):
        x, y = small_data()
        model, layer = small_model(k=2, capacity_factor=capacity_factor)
        before = [weight.numpy() for weight in model.trainable_variables]
        model.compile("adam", "mse", jit_compile=True)
        self.assertTrue(model.jit_compile)
        losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
        self.assertAllEqual(np.isfinite(losses), [True] * 3)
        for old, new in zip(before, model.trainable_variables, strict=True):
            self.assertNotAllClose(old, new)
        statistics = layer.routing_statistics()
        self.assertEqual(statistics.load.sum(), 2 * N * 5)

    def test_compiled_equals_dropless_where_nothing_overflows(self):
        x, _ = small_data()
        compiled, _ = small_model(k=2, capacity_factor=float(E))
        compiled.compile(jit_compile=True)
        plain, _ = small_model(k=2)
        plain.set_weights(compiled.get_weights())
        self.assertAllClose(compiled.predict(x, verbose=0), plain(x))


class CapacityTest(tf.test.TestCase):
    def test_overflow_is_dropped_and_counted(self):
        # All 8 tokens want expert 0, and it has ceil(1.0 * 8 / 3) = 3 slots.
        layer = SparseMoE(E, 1, H, capacity_factor=1.0)
        y = layer(tf.ones((N, D)))
        self.assertAllEqual(np.any(y != 0, axis=1), [True] * 3 + [False] * 5)
        statistics = layer.routing_statistics()
        self.assertEqual(statistics.overflow, 5)
        self.assertAllEqual(statistics.load, [8, 0, 0])
        self.assertAllClose(
            layer.monitor.result()[f"{layer.name}_overflow_share"], 5 / 8
        )

    def test_padding_takes_no_slot(self):
        layer = SparseMoE(E, 1, H, capacity_factor=1.0)
        mask = np.array([False] * 5 + [True] * 3)
        y = layer(tf.ones((N, D)), mask=mask)
        self.assertAllEqual(np.any(y != 0, axis=1), mask)
        self.assertEqual(layer.routing_statistics().overflow, 0)


class TestReplicas:
    def test_a_step_on_two_equals_a_step_on_one(self, two_replicas):
        x, y = small_data()
        data = tf.data.Dataset.from_tensors((x, y)).unbatch().batch(N)
        results = []
        for scope in (tf.distribute.get_strategy(), two_replicas):
            with scope.scope():
                model, layer = small_model(
                    gate=PlainGate(E),
                    importance_loss_weight=3.0,
                    load_loss_weight=2.0,
                )
                model.compile(keras.optimizers.SGD(0.1), "mse")
            logs = model.fit(data, verbose=0).history
            weights = [weight.numpy() for weight in model.weights]
            statistics = layer.routing_statistics()
            results.append([logs["loss"], *weights, *statistics])
        for one, two in zip(*results, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)

    def test_an_uneven_last_batch_is_weighed_by_keras(self, two_replicas):
        """Of seven rows, four to a batch, the last three are two and one.

        Keras takes the mean of their means: (y0 + y1) / 4 + y2 / 2, on one
        device sample weights of 3/4, 3/4 and 3/2 over three rows. The losses
        of the layer are still those of the whole batch, once.
        """
        x, y = (values[:7] for values in small_data())
        weights = np.ones((7, 5), "float32")
        weights[4:] = [[0.75], [0.75], [1.5]]
        results = []
        for scope, data in (
            (tf.distribute.get_strategy(), (x, y, weights)),
            (two_replicas, (x, y)),
        ):
            with scope.scope():
                model, layer = small_model(
                    gate=PlainGate(E), importance_loss_weight=3.0
                )
                model.compile(keras.optimizers.SGD(0.1), "mse")
            rows = tf.data.Dataset.from_tensor_slices(data)
            model.fit(rows.batch(4), verbose=0)
            trained = [weight.numpy() for weight in model.weights]
            results.append([*trained, *layer.routing_statistics()])
        for one, two in zip(*results, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


class BalancingTest(tf.test.TestCase):
    def test_losses_spread_a_collapsed_gate(self):
        layer = SparseMoE(8, 2, H, seed=0)
        x = np.random.default_rng(0).normal(size=(64, D)).astype("float32")
        x[:, 0] = 1
        layer.build((None, D))
        collapsed = np.zeros((D, 8))
        collapsed[0, :2] = 3
        layer.gate.gate_kernel.assign(collapsed)
        optimizer = keras.optimizers.Adam(0.1)

        @tf.function(autograph=False)
        def step():
            with tf.GradientTape() as tape:
                layer(x, training=True)
                loss = sum(layer.losses)
            weights = layer.gate.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)

        counts = []
        for _ in range(2):
            layer.reset_routing_statistics()
            layer(x, training=True)
            counts.append(layer.routing_statistics().cv_load)
            for _ in range(40):
                step()
        self.assertGreater(counts[0], 1.0)
        self.assertLess(counts[1], 0.4)

    def test_two_layers_that_collapse_in_mirror_image_both_pay(self):
        # Summed over layers the load would be even.
        losses = []
        for favourite in (0, 1):
            layer = SparseMoE(2, 1, H, importance_loss_weight=0)
            layer.build((None, 1))
            kernel = np.zeros((1, 2))
            kernel[0, favourite] = 50
            layer.gate.gate_kernel.assign(kernel)
            layer(tf.ones((N, 1)), training=True)
            losses.append(float(sum(layer.losses)))
        # One of two experts has everything: CV^2 = 1, weight 0.1.
        self.assertAllClose(losses, [0.1, 0.1])


class OwnPartsTest(tf.test.TestCase):
    def test_any_gate_that_keeps_the_contract(self):
        x, _ = small_data()
        layer = SparseMoE(E, hidden_dim=H, gate=PlainGate(E))
        y = layer(x, training=True)
        self.assertEqual(y.shape, x.shape)
        self.assertLen(layer.losses, 2)  # the gate's own, and the balance
        share = tf.nn.softmax(x.reshape(-1, D) @ layer.gate.kernel * 20)
        total_E = tf.reduce_sum(share, 0)
        self.assertAllClose(
            sum(layer.losses),
            7 + 0.1 * cv_squared(total_E) + 0.1 * cv_squared(total_E * LOAD),
        )

    def test_gate_that_ignores_masks_is_masked_all_the_same(self):
        layer = SparseMoE(E, hidden_dim=H, gate=PlainGate(E))
        mask = np.arange(N) < 5
        y = layer(tf.ones((N, D)), mask=mask)
        self.assertAllEqual(np.any(y != 0, axis=1), mask)
        self.assertEqual(layer.routing_statistics().load.sum(), 2 * 5)

    def test_layer_that_takes_batches_only(self):
        x = np.random.default_rng(0).normal(size=(N, D))
        experts = keras.layers.Identity()
        experts.num_experts = E
        layer = SparseMoE(E, 2, expert=experts)
        self.assertAllClose(layer(x), x, rtol=1e-5)

    def test_function_that_makes_one_expert_at_a_time(self):
        made = []

        def make_expert():
            made.append(keras.layers.Dense(2, use_bias=False))
            return made[-1]

        layer = SparseMoE(E, E, expert=make_expert)
        x = np.ones((1, D))
        y = layer(x)
        self.assertLen(made, E)
        # An untrained gate at inference weighs all experts alike.
        mean = np.mean([expert(x) for expert in made], axis=0)
        self.assertAllClose(y, mean)
        self.assertLen(layer.trainable_variables, 2 + E)

    def test_default_arguments(self):
        layer = SparseMoE(6, hidden_dim=H)
        self.assertEqual(layer(tf.ones((2, 3, D)), training=True).shape[-1], D)
        self.assertIsInstance(layer.gate, NoisyTopKGate)
        self.assertEqual(layer.gate.k, 4)
