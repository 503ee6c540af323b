"""Gated experts against the published equations, one token at a time."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from small_experts import (
    COUNTS,
    E,
    H,
    assert_equals_one_network_at_a_time,
    assert_segments_have_gradients_of_batches,
    built_experts,
    random_rows,
)

from moe_keras import GatedFeedForwardExperts, SparseMoE, TopKGate
from moe_keras.experts import ClampedGLU


def built(**kwargs):
    return built_experts(GatedFeedForwardExperts, **kwargs)


def one_expert(experts, e, x):
    """SwiGLU as it is published: (silu(x W) * (x V)) W_2."""
    both = experts.kernel_in.numpy()[e]
    gate, linear = x @ both[:, :H], x @ both[:, H:]
    hidden = gate / (1 + np.exp(-gate)) * linear
    return hidden @ experts.kernel_out.numpy()[e]


class GatedFeedForwardExpertsTest(tf.test.TestCase, parameterized.TestCase):
    def test_worked_example(self):
        # x = 2, W_gate = 1, W_in = 3, W_out = 0.5:
        # silu(2) = 2 / (1 + e^-2) = 1.7616, times 6, times 0.5.
        experts = GatedFeedForwardExperts(1, 1)
        experts.build((1, None, 1))
        experts.kernel_in.assign([[[1.0, 3.0]]])
        experts.kernel_out.assign([[[0.5]]])
        y = experts(tf.constant([[[2.0]]]))
        self.assertAllClose(y, [[[5.2848]]], atol=1e-4)

    @parameterized.parameters(False, True)
    def test_batches_and_segments_equal_one_network_at_a_time(self, recompute):
        experts = built(recompute=recompute)
        assert_equals_one_network_at_a_time(experts, one_expert)

    @parameterized.product(
        activation=("silu", "gelu", "relu", "sigmoid"),
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
            y = experts(random_rows(), counts=COUNTS, training=True)
        for gradient in tape.gradient(y, experts.trainable_variables):
            self.assertAllEqual(gradient[1], np.zeros(gradient.shape[1:]))

    def test_each_kernel_of_each_expert_is_initialized_as_if_alone(self):
        # Glorot: uniform within sqrt(6 / (fan in + fan out)).
        experts = GatedFeedForwardExperts(40, 20)
        experts.build((40, None, 10))
        gate, linear = np.split(experts.kernel_in.numpy(), 2, axis=-1)
        for kernel in (gate, linear, experts.kernel_out):
            self.assertAllClose(
                np.abs(kernel).max(), np.sqrt(6 / 30), rtol=0.01
            )
            self.assertNotAllClose(kernel[0], kernel[1])
        self.assertNotAllClose(gate, linear)

    def test_no_two_kernels_share_their_random_numbers(self):
        # Of one size, so that equal numbers would be equal once scaled.
        experts = GatedFeedForwardExperts(2, 3, output_dim=6)
        experts.build((2, None, 3))
        one, other = (
            np.sort(np.ravel(kernel)) / np.abs(kernel).max()
            for kernel in (experts.kernel_in, experts.kernel_out)
        )
        self.assertNotAllClose(one, other)

    def test_sizes_below_one(self):
        for name in ("num_experts", "hidden_dim", "output_dim"):
            sizes = {"num_experts": 2, "hidden_dim": 3, name: 0}
            with self.assertRaisesRegex(ValueError, f"`{name}`.*{name}=0"):
                GatedFeedForwardExperts(**sizes)


def one_of_gpt_oss(experts, e, x):
    """GPT-OSS's expert as it is published: clamped, with biases."""
    both = x @ experts.kernel_in.numpy()[e] + experts.bias_in.numpy()[e]
    gate, linear = np.minimum(both[:, :H], 2.0), both[:, H:].clip(-2.0, 2.0)
    hidden = (linear + 1) * gate / (1 + np.exp(-1.702 * gate))
    return hidden @ experts.kernel_out.numpy()[e] + experts.bias_out.numpy()[e]


class BiasAndGluTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(False, True)
    def test_experts_of_gpt_oss_equal_the_published_ones(self, recompute):
        # The limit of 2 cuts off some of the numbers, but not all.
        experts = built(recompute=recompute, use_bias=True, glu=ClampedGLU(2.0))
        both = random_rows() @ experts.kernel_in.numpy()[0]
        self.assertBetween(np.mean(both > 2.0), 0.1, 0.9)
        assert_equals_one_network_at_a_time(experts, one_of_gpt_oss)

    @parameterized.product(
        glu=(None, ClampedGLU(2.0)),
        recompute=(True, False),
        as_function=(True, False),
    )
    def test_gradients_of_segments_equal_those_of_batches(
        self, as_function, **kwargs
    ):
        experts = built(use_bias=True, **kwargs)
        assert_segments_have_gradients_of_batches(experts, as_function)

    def test_function_of_ones_own(self):
        # x = 2, W_gate = 1, W_in = 3: (2 - 6) * 0.5.
        experts = GatedFeedForwardExperts(1, 1, glu=tf.subtract)
        experts.build((1, None, 1))
        experts.kernel_in.assign([[[1.0, 3.0]]])
        experts.kernel_out.assign([[[0.5]]])
        self.assertAllClose(experts(tf.constant([[[2.0]]])), [[[-2.0]]])

    def test_what_is_no_glu_is_refused(self):
        weight = tf.Variable(1.0)
        for glu in (
            "silu",
            lambda gate, linear: gate[:, :1],
            lambda gate, linear: weight * gate * linear,
        ):
            with self.assertRaisesRegex(ValueError, "`glu` must be a function"):
                GatedFeedForwardExperts(2, 3, glu=glu)
        with self.assertRaisesRegex(ValueError, "`activation` must be left"):
            GatedFeedForwardExperts(2, 3, activation="gelu", glu=tf.add)
        with self.assertRaisesRegex(ValueError, "`limit` must be.*limit=0"):
            ClampedGLU(limit=0)

    def test_regularizer_of_biases(self):
        experts = built(
            use_bias=True, bias_regularizer=keras.regularizers.L2(0.5)
        )
        biases = (experts.bias_in, experts.bias_out)
        expected = sum(0.5 * np.sum(np.square(bias)) for bias in biases)
        self.assertAllClose(sum(experts.losses), expected)


class MixtralBlockTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(None, float(E))
    def test_equals_a_plain_loop_over_the_published_equations(self, capacity):
        # y = sum over the top 2 of softmax(their logits) * SwiGLU(x)
        # (arXiv:2401.04088, section 2.1).
        gate = TopKGate(E, k=2, dtype="float64")
        experts = built(output_dim=None)
        layer = SparseMoE(
            E,
            gate=gate,
            expert=experts,
            capacity_factor=capacity,
            dtype="float64",
        )
        x_ND = random_rows()
        y_ND = layer(x_ND)
        for x, y in zip(x_ND, y_ND, strict=True):
            logits = x @ gate.gate_kernel.numpy()
            best = np.argsort(-logits)[:2]
            weights = np.exp(logits[best]) / np.exp(logits[best]).sum()
            expected = sum(
                weight * one_expert(experts, e, x)
                for weight, e in zip(weights, best, strict=True)
            )
            self.assertAllClose(y, expected)
