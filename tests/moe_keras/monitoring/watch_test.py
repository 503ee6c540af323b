"""What a watched layer counts, worked by hand."""

import numpy as np
import tensorflow as tf

from moe_keras import (
    BatchwiseGate,
    ExpertChoiceGate,
    SparseMoE,
    ThresholdGate,
)
from moe_keras.monitoring import LayerWatch, make_window, uncounted
from moe_keras.monitoring.watch import PROBE_TOKENS

D, E = 3, 4


def watched_layer(**kwargs):
    layer = SparseMoE(E, k=2, hidden_dim=5, seed=0, **kwargs)
    layer.build((None, D))
    # Feature i asks for expert i: each token's largest feature chooses.
    layer.gate.gate_kernel.assign(np.eye(D, E) * 100.0)
    watch = LayerWatch(layer)
    layer.observers.add(watch)
    return layer, watch


def tokens(*largest):
    rows = np.full((len(largest), D), 0.1, "float32")
    rows[np.arange(len(largest)), largest] = 1.0
    return tf.constant(rows)


class LayerWatchTest(tf.test.TestCase):
    def test_training_steps_are_added_up_and_others_are_not(self):
        layer, watch = watched_layer()
        layer(tokens(0, 1), training=True)
        layer(tokens(0, 0, 2), training=True)
        layer(tokens(1, 1, 1), training=False)
        with uncounted(layer):
            layer(tokens(1, 1, 1), training=True)
        counts = watch.close()
        self.assertEqual(counts.tokens, 5)
        self.assertEqual(counts.load.sum(), 2 * 5)
        # Every token also takes a second expert; nobody's first is 3.
        self.assertGreaterEqual(counts.load[0], 3)
        self.assertAllClose(counts.importance.sum(), 5.0)

    def test_closing_begins_anew(self):
        layer, watch = watched_layer()
        layer(tokens(0, 1), training=True)
        watch.close()
        layer(tokens(2), training=True)
        self.assertEqual(watch.close().tokens, 1)
        self.assertEqual(watch.close().tokens, 0)

    def test_padding_counts_nowhere(self):
        layer, watch = watched_layer()
        mask = tf.constant([True, False, False])
        layer(tokens(0, 1, 2), mask=mask, training=True)
        counts = watch.close()
        self.assertEqual(counts.tokens, 1)
        self.assertEqual(counts.load.sum(), 2)

    def test_noise_and_gap_are_sums_over_tokens(self):
        layer, watch = watched_layer()
        layer(tokens(0, 1), training=True)
        figures = watch.close().gate_metrics
        # The noise kernel is zero: softplus(0) = log 2 for each of 2 tokens.
        self.assertAllClose(figures["noise"], 2 * np.log(2))
        # Clean logits 100, 10, 10, 0: the second and the third are equal.
        self.assertAllClose(figures["gap"], 0.0)
        layer.gate.gate_kernel.assign(np.diag([4.0, 2.0, 1.0, 0.0])[:D])
        layer(tf.ones((2, D)), training=True)
        # Now 4, 2, 1, 0: from the second to the third it is 1, twice.
        self.assertAllClose(watch.close().gate_metrics["gap"], 2.0)

    def test_figures_of_other_gates_become_means_over_tokens(self):
        mask = tf.constant([True, True, True, True, False])
        for gate, figures in (
            (
                ThresholdGate(E, k_max=2, mass=0.7, target=None),
                {"mass": 0.7},
            ),
            # Each of 4 experts takes 4 / 4 tokens. They all tie, and the
            # first token has all experts: 3 of 4 tokens have none.
            (BatchwiseGate(E, k=1), {"tokens_without_expert": 3 / 4}),
            (
                ExpertChoiceGate(E, causal=False, capacity_factor=1.0),
                {"tokens_without_expert": 3 / 4},
            ),
        ):
            layer = SparseMoE(E, hidden_dim=5, gate=gate)
            layer.build((None, D))
            gate.gate_kernel.assign(np.zeros((D, E)))
            watch = LayerWatch(layer)
            layer.observers.add(watch)
            for _ in range(2):
                layer(tokens(0, 1, 2, 0, 0), mask=mask, training=True)
            window = make_window("moe", 2, 2, **watch.close()._asdict())
            self.assertEqual(window.tokens, 8)
            self.assertAllClose(window.gate_metrics, figures)

    def test_balancing_loss_is_the_mean_over_training_steps(self):
        layer, watch = watched_layer()
        added = []
        for largest in ((0, 1), (0, 0, 2)):
            layer(tokens(*largest), training=True)
            added.append(float(sum(layer.losses)))
        layer(tokens(1))
        self.assertAllClose(watch.close().balancing_loss, np.mean(added))
        self.assertIsNone(watch.close().balancing_loss)

    def test_share_of_changed_first_choices(self):
        layer, watch = watched_layer()
        layer(tokens(0, 0, 1, 2), training=True)
        self.assertIsNone(watch.close().changed_share)
        # Feature 1 now asks for expert 3: one of the four tokens changes.
        kernel = np.eye(D, E) * 100.0
        kernel[1] = [0.0, 0.0, 0.0, 100.0]
        layer.gate.gate_kernel.assign(kernel)
        layer(tokens(1, 1, 1, 0), training=True)
        self.assertAllClose(watch.close().changed_share, 1 / 4)
        # The next probe is the second window's: nothing has changed since.
        layer(tokens(0), training=True)
        self.assertAllClose(watch.close().changed_share, 0.0)

    def test_probe_is_the_first_batch_of_a_window_spread_out(self):
        layer, watch = watched_layer()
        rows = np.zeros((3 * PROBE_TOKENS, D), "float32")
        rows[:, 0] = np.arange(len(rows))
        mask = np.arange(len(rows)) < 2 * PROBE_TOKENS
        layer(tf.constant(rows), mask=tf.constant(mask), training=True)
        layer(tokens(1), training=True)
        probe = watch._probe.numpy()
        self.assertAllEqual(probe[:, 0], np.arange(PROBE_TOKENS) * 3)
        expected = np.arange(PROBE_TOKENS) * 3 < 2 * PROBE_TOKENS
        self.assertAllEqual(watch._is_token, expected)

    def test_graph_counts_as_eager_does(self):
        layer, watch = watched_layer()
        step = tf.function(lambda x: layer(x, training=True), autograph=False)
        for _ in range(3):
            step(tokens(0, 1))
        self.assertEqual(watch.close().tokens, 6)

    def test_layer_that_is_not_built_is_refused(self):
        with self.assertRaisesRegex(ValueError, "must be built before"):
            LayerWatch(SparseMoE(E, k=2, hidden_dim=5))
