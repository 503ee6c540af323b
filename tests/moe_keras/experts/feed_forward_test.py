"""Experts: segments and batches against one network after another."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from small_experts import (
    COUNTS,
    OUT,
    ROWS,
    C,
    D,
    E,
    assert_equals_one_network_at_a_time,
    assert_segments_have_gradients_of_batches,
    built_experts,
    random_rows,
)

from moe_keras import FeedForwardExperts


def built(**kwargs):
    return built_experts(FeedForwardExperts, **{"seed": 0, **kwargs})


def one_expert(experts, e, x):
    w = {v.name: v.numpy()[e] for v in experts.trainable_variables}
    hidden = x @ w["kernel_in"] + w.get("bias_in", 0)
    hidden = experts.activation(hidden).numpy()
    return hidden @ w["kernel_out"] + w.get("bias_out", 0)


def _with_weights(layer):
    return lambda hidden: layer(hidden)


class FeedForwardExpertsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        activation=("relu", "gelu"),
        use_bias=(True, False),
        recompute=(True, False),
    )
    def test_batches_and_segments_equal_one_network_at_a_time(self, **kwargs):
        assert_equals_one_network_at_a_time(built(**kwargs), one_expert)

    @parameterized.product(
        activation=("relu", "gelu", "tanh", "sigmoid"),
        use_bias=(True, False),
        recompute=(True, False),
        as_function=(True, False),
    )
    def test_gradients_of_segments_equal_those_of_batches(
        self, as_function, **kwargs
    ):
        assert_segments_have_gradients_of_batches(built(**kwargs), as_function)

    def test_idle_expert_has_a_gradient_of_zero(self):
        experts = built()
        with tf.GradientTape() as tape:
            y = experts(random_rows(), counts=COUNTS)
        for gradient in tape.gradient(y, experts.trainable_variables):
            self.assertAllEqual(gradient[1], np.zeros(gradient.shape[1:]))

    def test_no_rows_at_all(self):
        experts = built()
        with tf.GradientTape() as tape:
            y = experts(tf.zeros((0, D)), counts=[0] * E)
        self.assertEqual(y.shape, (0, OUT))
        for gradient in tape.gradient(y, experts.trainable_variables):
            self.assertAllEqual(gradient, np.zeros(gradient.shape))

    def test_rows_of_nobody_have_no_gradient_even_if_they_are_nan(self):
        experts = built()
        x_SD = random_rows()
        x_SD[-2:] = np.nan
        x_SD = tf.constant(x_SD)
        with tf.GradientTape() as tape:
            tape.watch(x_SD)
            y = experts(x_SD, counts=COUNTS)
        d_x, *d_weights = tape.gradient(y, [x_SD, *experts.trainable_variables])
        self.assertAllEqual(d_x[-2:], np.zeros((2, D)))
        for gradient in d_weights:
            self.assertAllEqual(np.isfinite(gradient).all(), True)

    @parameterized.parameters((None,), (COUNTS,))
    def test_dropout_is_for_training_and_equal_when_recomputed(self, counts):
        x = tf.ones((E, 50, D) if counts is None else (ROWS, D), tf.float64)

        def run(recompute):
            experts = built(dropout=0.5, recompute=recompute)
            with tf.GradientTape() as tape:
                y = experts(x, counts=counts, training=True)
            gradients = tape.gradient(y, experts.trainable_variables)
            return [y, *gradients], experts(x, counts=counts)

        (kept, still), (recomputed, _) = run(False), run(True)
        self.assertNotAllClose(kept[0], still)
        for ours, theirs in zip(kept, recomputed, strict=True):
            self.assertAllClose(ours, theirs)

    def test_each_expert_is_initialized_as_if_alone(self):
        # Glorot: uniform within sqrt(6 / (fan in + fan out)).
        experts = FeedForwardExperts(40, 20, seed=0)
        experts.build((40, None, 10))
        for kernel in (experts.kernel_in, experts.kernel_out):
            limit = np.sqrt(6 / 30)
            self.assertAllClose(np.abs(kernel).max(), limit, rtol=0.01)
            self.assertNotAllClose(kernel[0], kernel[1])

    def test_no_two_kernels_share_their_random_numbers(self):
        experts = FeedForwardExperts(2, 3)
        experts.build((2, None, 3))
        self.assertNotAllClose(experts.kernel_in, experts.kernel_out)

    def test_integers_are_cast_as_those_of_a_dense_layer(self):
        experts = built()
        rows = np.arange(ROWS * D).reshape(ROWS, D) % 3
        for kwargs in ({"counts": COUNTS}, {}):
            x = rows if kwargs else np.resize(rows, (E, C, D))
            y = experts(tf.constant(x, "int32"), **kwargs)
            self.assertAllClose(y, experts(tf.constant(x, "float64"), **kwargs))

    @parameterized.product(
        policy=("mixed_bfloat16", "mixed_float16"), as_batches=(True, False)
    )
    def test_bias_gradients_of_many_rows_are_summed_in_float32(
        self, policy, as_batches
    ):
        # d sum(y) / d bias_out is the number of rows: TensorFlow's own sums
        # stand still at 256 in bfloat16, at 2,048 in float16.
        rows = 5_001
        experts = FeedForwardExperts(1, 8, dtype=policy)
        experts.build((1, None, 4))
        x = tf.ones((1, rows, 4) if as_batches else (rows, 4))
        counts = None if as_batches else [rows]
        with tf.GradientTape() as tape:
            y = tf.cast(experts(x, counts=counts, training=True), "float32")
        gradient = tape.gradient(y, experts.bias_out.value)
        self.assertEqual(gradient.dtype, "float32")
        self.assertAllEqual(gradient, np.full((1, 4), rows))

    @parameterized.parameters(True, False)
    def test_tapes_may_be_persistent_and_nested(self, recompute):
        experts = built(activation="gelu", recompute=recompute)
        x = tf.constant(random_rows())

        def first_and_second(run):
            with tf.GradientTape(persistent=True) as outer:
                outer.watch(x)
                with tf.GradientTape(persistent=True) as inner:
                    inner.watch(x)
                    y = run(x)
                    losses = [tf.reduce_sum(y), tf.reduce_sum(y**2)]
                first = [inner.gradient(loss, x) for loss in losses]
            second = outer.gradient(
                first[1], [x, *(w.value for w in experts.trainable_variables)]
            )
            return [*first, *second]

        def one_network_at_a_time(x):
            parts = tf.split(x, [*COUNTS, 2])[:-1]
            w = {v.name: v.value for v in experts.trainable_variables}
            outputs = [
                experts.activation(part @ w["kernel_in"][e] + w["bias_in"][e])
                @ w["kernel_out"][e]
                + w["bias_out"][e]
                for e, part in enumerate(parts)
            ]
            return tf.concat([*outputs, tf.zeros((2, OUT), x.dtype)], 0)

        ours = first_and_second(
            lambda x: experts(x, counts=COUNTS, training=True)
        )
        theirs = first_and_second(one_network_at_a_time)
        for one, other in zip(ours, theirs, strict=True):
            other = 0 * one if other is None else tf.convert_to_tensor(other)
            one = tf.zeros_like(other) if one is None else one
            self.assertAllClose(one, other, 1e-6, 1e-6)

    def test_second_order_of_recomputed_batches(self):
        x = tf.constant(np.random.default_rng(1).normal(size=(E, C, D)))
        seconds = []
        for recompute in (True, False):
            experts = built(activation="gelu", recompute=recompute)
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = tf.reduce_sum(experts(x, training=True) ** 2)
                first = inner.gradient(y, x)
            seconds.append(outer.gradient(first, x))
        self.assertAllClose(*seconds)
        self.assertGreater(np.abs(seconds[0]).max(), 0)

    def test_jacobian_without_pfor_has_blocks_of_tokens(self):
        # A token's results depend on that token alone.
        experts = built(activation="tanh")
        x = tf.constant(random_rows()[:6])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = experts(x, counts=COUNTS, training=True)
        jacobian = tape.jacobian(y, x, experimental_use_pfor=False).numpy()
        for row in range(6):
            e = np.repeat(range(E), COUNTS)[row]
            w = {v.name: v.numpy()[e] for v in experts.trainable_variables}
            hidden = np.tanh(x.numpy()[row] @ w["kernel_in"] + w["bias_in"])
            # d y_o / d x_d = sum_h W_out[h, o] (1 - hidden_h^2) W_in[d, h]
            expected = ((1 - hidden**2) * w["kernel_in"]) @ w["kernel_out"]
            self.assertAllClose(jacobian[row, :, row], expected.T)
            jacobian[row, :, row] = 0
        self.assertAllEqual(jacobian, 0 * jacobian)

    @parameterized.parameters(
        (lambda: keras.layers.PReLU(), "no variables.*PReLU"),
        (lambda: keras.layers.Dropout(0.5), "no variables.*Dropout"),
        (lambda: _with_weights(keras.layers.PReLU()), "no variables"),
        (lambda: lambda x: x[:, :1], "keep the shape"),
    )
    def test_activations_that_cannot_be_stacked_are_refused(
        self, make, message
    ):
        with self.assertRaisesRegex(ValueError, message):
            FeedForwardExperts(2, 3, activation=make())

    def test_layers_without_variables_are_activations(self):
        experts = FeedForwardExperts(2, 3, activation=keras.layers.LeakyReLU())
        self.assertEqual(experts(tf.ones((2, 1, 3))).shape, (2, 1, 3))

    def test_sizes_below_one(self):
        for name in ("num_experts", "hidden_dim", "output_dim"):
            sizes = {"num_experts": 2, "hidden_dim": 3, name: 0}
            with self.assertRaisesRegex(ValueError, f"`{name}`.*{name}=0"):
                FeedForwardExperts(**sizes)

    def test_sizes_that_are_no_integers(self):
        for size in (2.0, True, "3"):
            with self.assertRaisesRegex(ValueError, f"`hidden.*={size!r}"):
                FeedForwardExperts(2, size)

    def test_dropout_out_of_its_range(self):
        for dropout in (-0.1, 1, 1.5, float("nan"), "0.1"):
            with self.assertRaisesRegex(ValueError, f"`drop.*={dropout!r}"):
                FeedForwardExperts(2, 3, dropout=dropout)
