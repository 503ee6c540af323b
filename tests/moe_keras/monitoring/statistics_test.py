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


def model_of_two_layers():
    inputs = keras.Input((None, 4))
    x = SparseMoE(3, k=2, hidden_dim=5, seed=0, name="lower")(inputs)
    inner = keras.Sequential([SparseMoE(2, k=1, hidden_dim=5, name="upper")])
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
        for layer in ("lower", "upper"):
            for name in (
                "cv_importance",
                "cv_load",
                "max_over_mean_load",
                "idle_share",
                "overflow_share",
                "mean_k",
            ):
                self.assertIn(f"{layer}_{name}", logs)
                self.assertIn(f"val_{layer}_{name}", logs)
        self.assertAllClose(logs["val_lower_mean_k"], [2.0])
        self.assertAllClose(logs["val_upper_mean_k"], [1.0])

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
