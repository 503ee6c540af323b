"""Routing statistics, alone and in the logs of a model."""

import keras
import numpy as np
import tensorflow as tf

from moe_keras import SparseMoE
from moe_keras.monitoring import RoutingMetric, routing_layers


class RoutingMetricTest(tf.test.TestCase):
    def test_figures_worked_by_hand(self):
        metric = RoutingMetric(4, name="moe")
        metric.update_state([1.0, 2.0, 0.0, 0.0], [1, 2, 0, 0], 2, 1)
        metric.update_state([0.0, 0.0, 3.0, 0.0], [0, 0, 3, 0], 2, 1)
        statistics = metric.statistics()
        self.assertAllEqual(statistics.importance, [1.0, 2.0, 3.0, 0.0])
        self.assertAllEqual(statistics.load, [1.0, 2.0, 3.0, 0.0])
        # Mean 1.5, variance (0.25 + 0.25 + 2.25 + 2.25) / 4 = 1.25.
        self.assertAllClose(statistics.cv_load, np.sqrt(1.25) / 1.5)
        self.assertAllClose(statistics.cv_importance, np.sqrt(1.25) / 1.5)
        self.assertAllClose(statistics.max_over_mean_load, 2.0)
        self.assertAllClose(statistics.idle_share, 0.25)
        # 6 choices of 4 tokens, whether or not there was room for them.
        self.assertAllClose(statistics.mean_k, 1.5)
        self.assertAllClose(metric.result()["moe_mean_k"], 1.5)
        self.assertEqual(statistics.tokens, 4)
        self.assertEqual(statistics.overflow, 2)
        self.assertAllClose(metric.result()["moe_overflow_share"], 2 / 6)

    def test_nothing_counted_gives_no_nan(self):
        metric = RoutingMetric(3)
        for figure in metric.result().values():
            self.assertTrue(np.isfinite(figure))


class Block(keras.layers.Layer):
    """A residual block whose layer is called moe in every block."""

    def __init__(self):
        super().__init__()
        self.moe = SparseMoE(8, k=1, hidden_dim=8, name="moe")

    def build(self, shape):
        self.moe.build(shape)

    def call(self, x, training=False):
        return x + self.moe(x, training=training)


def model_of_two_layers():
    inputs = keras.Input((None, 4))
    x = SparseMoE(3, k=2, hidden_dim=5, seed=0, name="lower")(inputs)
    upper = SparseMoE(2, k=1, hidden_dim=5, name="upper")
    inner = keras.Sequential([upper], name="sequential")
    model = keras.Model(inputs, inner(x))
    model.compile("sgd", "mse")
    return model


class StatisticsOfAModelTest(tf.test.TestCase):
    def test_layers_are_found_however_nested(self):
        names = [layer.name for layer in routing_layers(model_of_two_layers())]
        self.assertEqual(names, ["lower", "upper"])

    def test_layers_come_in_the_order_of_the_model(self):
        one, two, three, four = (
            SparseMoE(2, k=1, hidden_dim=5, name=name)
            for name in ("one", "two", "three", "four")
        )
        inner = keras.Sequential([two, three])
        model = keras.Sequential([one, inner, two, four])
        self.assertEqual(routing_layers(model), [one, two, three, four])

    def test_logs_of_fit_and_evaluate_tell_the_layers_apart(self):
        model, x = model_of_two_layers(), np.ones((6, 5, 4), "float32")
        logs = model.fit(x, x, verbose=0, validation_data=(x, x)).history
        for layer in ("lower", "sequential/upper"):
            for name in (
                "cv_importance",
                "cv_load",
                "max_over_mean_load",
                "idle_share",
                "overflow_share",
                "mean_k",
                "balancing_loss",
            ):
                self.assertIn(f"{layer}_{name}", logs)
                self.assertIn(f"val_{layer}_{name}", logs)
        self.assertAllClose(logs["val_lower_mean_k"], [2.0])
        self.assertAllClose(logs["val_sequential/upper_mean_k"], [1.0])

    def test_layers_of_one_name_have_keys_of_their_own(self):
        """One of them has collapsed: of 8 experts one has all, CV sqrt(7)."""
        inputs = keras.Input((5,))
        first, last = Block(), Block()
        model = keras.Model(inputs, last(first(inputs)))
        x = np.random.default_rng(0).normal(size=(64, 5)) + 3
        first.moe.gate.gate_kernel.assign(50.0 * np.eye(1, 8).repeat(5, 0))
        model.compile(keras.optimizers.SGD(0.0), "mse")
        logs = model.fit(x, x, verbose=0).history
        keys = [key for key in logs if key.endswith("moe_cv_load")]
        self.assertEqual(
            keys, [f"{block.moe.path}_cv_load" for block in (first, last)]
        )
        self.assertAllClose(logs[keys[0]], [7**0.5])
        self.assertLess(logs[keys[1]][0], 1.0)

    def test_figures_can_be_left_out_of_the_logs(self):
        inputs = keras.Input((5,))
        layer = SparseMoE(4, k=2, hidden_dim=8, log_figures=False)
        model = keras.Model(inputs, layer(inputs))
        model.compile("sgd", "mse", metrics=["mae"])
        x = np.ones((6, 5))
        loss, error = model.evaluate(x, x, verbose=0)
        self.assertGreater(loss, 0)
        self.assertGreater(error, 0)
        logs = model.fit(x, x, verbose=0).history
        self.assertEqual(set(logs), {"loss", "mae"})
        self.assertEqual(layer.routing_statistics().tokens, 6)

    def test_balancing_loss_is_the_mean_of_what_was_added(self):
        layer = SparseMoE(4, k=2, hidden_dim=8, seed=0)
        added = []
        for seed in range(3):
            layer(keras.random.normal((9, 5), seed=seed), training=True)
            added.append(float(sum(layer.losses)))
        layer(tf.ones((9, 5)))  # no training step, no loss
        loss = layer.routing_statistics().balancing_loss
        self.assertAllClose(loss, np.mean(added))
        layer.reset_routing_statistics()
        self.assertEqual(layer.routing_statistics().balancing_loss, 0.0)

    def test_every_epoch_starts_anew(self):
        model, x = model_of_two_layers(), np.ones((6, 5, 4), "float32")
        model.fit(x, x, epochs=3, verbose=0)
        lower = routing_layers(model)[0]
        self.assertEqual(lower.routing_statistics().tokens, 6 * 5)
        self.assertEqual(lower.routing_statistics().load.sum(), 2 * 6 * 5)

    def test_reset(self):
        layer = SparseMoE(3, k=2, hidden_dim=5)
        layer(tf.ones((6, 4)))
        self.assertEqual(layer.routing_statistics().tokens, 6)
        layer.reset_routing_statistics()
        self.assertEqual(layer.routing_statistics().tokens, 0)

    def test_statistics_are_no_weights(self):
        layer = SparseMoE(3, k=2, hidden_dim=5)
        layer.build((None, 4))
        names = {weight.name for weight in layer.weights}
        self.assertNotIn("totals", names)


def test_counting_goes_on_beyond_what_float32_can_count():
    # 2^24 + 1 has no float32: single tokens would be lost.
    layer = SparseMoE(2, k=1, hidden_dim=4)
    layer(np.ones((2, 3), "float32"))
    layer.monitor.totals.assign(np.full(layer.monitor.totals.shape, 2.0**24))
    for _ in range(100):
        layer(np.ones((1, 3), "float32"))
    assert layer.routing_statistics().tokens == 2**24 + 100
