"""Regularizers of experts: the losses of E layers, each alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import (
    FeedForwardExperts,
    GatedFeedForwardExperts,
    SparseMoE,
)
from moe_keras.parallel import MeshLayout

E, D, H = 3, 4, 5


def _built(experts):
    experts.build((E, None, D))
    rng = np.random.default_rng(0)
    for weight in experts.weights:
        if weight.trainable:
            weight.assign(rng.normal(size=weight.shape))
    return experts


def test_l2_of_all_experts_is_summed():
    experts = _built(
        FeedForwardExperts(
            E,
            H,
            kernel_regularizer=keras.regularizers.L2(0.5),
            bias_regularizer=keras.regularizers.L1(0.25),
        )
    )
    kernels = [experts.kernel_in, experts.kernel_out]
    biases = [experts.bias_in, experts.bias_out]
    expected = sum(0.5 * np.sum(np.square(k)) for k in kernels)
    expected += sum(0.25 * np.sum(np.abs(b)) for b in biases)
    np.testing.assert_allclose(sum(experts.losses), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["plain", "gated"])
def test_a_regularizer_of_matrices_sees_each_kernel_alone(kind):
    regularizer = keras.regularizers.OrthogonalRegularizer(0.1)
    if kind == "plain":
        experts = FeedForwardExperts(E, H, kernel_regularizer=regularizer)
        _built(experts)
        into = [*np.asarray(experts.kernel_in)]
    else:
        experts = GatedFeedForwardExperts(E, H, kernel_regularizer=regularizer)
        _built(experts)
        halves = np.split(np.asarray(experts.kernel_in), 2, axis=-1)
        into = [kernel for half in halves for kernel in half]
    kernels = [*into, *np.asarray(experts.kernel_out)]
    expected = sum(float(regularizer(tf.constant(k))) for k in kernels)
    np.testing.assert_allclose(sum(experts.losses), expected, rtol=1e-5)


def test_fit_pulls_idle_experts_towards_zero():
    experts = FeedForwardExperts(
        E, H, kernel_regularizer=keras.regularizers.L2(1.0)
    )
    layer = SparseMoE(E, k=1, expert=experts, importance_loss_weight=0.0)
    model = keras.Sequential([keras.Input((D,)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = np.array(experts.kernel_in)
    x = np.ones((1, D), "float32")
    model.fit(x, model(x), verbose=0)  # one token, two idle experts
    factor = 1 - 0.1 * 2  # w - rate * 2 * w
    after = np.asarray(experts.kernel_in)
    pairs = zip(after, before, strict=True)
    moved = [np.allclose(a, factor * b) for a, b in pairs]
    assert sum(moved) >= E - 1


def test_layout_that_splits_the_experts_refuses_them():
    layout = MeshLayout("all:3", "experts:all")
    experts = FeedForwardExperts(E, H, kernel_regularizer="l2")
    with layout.scope(), pytest.raises(ValueError, match="`kernel_in` without"):
        experts.build((E, None, D))


def test_config_from_before_regularizers_still_loads():
    config = FeedForwardExperts(E, H).get_config()
    for name in ("kernel_regularizer", "bias_regularizer"):
        assert config.pop(name) is None
    assert FeedForwardExperts.from_config(config).kernel_regularizer is None
