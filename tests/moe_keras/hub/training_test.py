"""What one does with a model of keras-hub works with a sparse one."""

import warnings

import keras
import numpy as np
import pytest
import small_hub

from moe_keras.hub import sparsify


def _pair(family):
    """The same model, as keras-hub computes it and sparse."""
    sizes = {}
    if family == "qwen3_5_moe":  # linear attention makes much of rounding
        sizes = {"layer_types": ["full_attention"] * 2}
    dense, sparse = (small_hub.make(family, **sizes) for _ in range(2))
    return dense, sparsify(sparse)


def _fit(model, family, **arguments):
    inputs, targets, weights = small_hub.training_data(family)
    small_hub.compiled(model, **arguments)
    history = model.fit(
        inputs, targets, sample_weight=weights, epochs=2, verbose=0
    )
    return history.history["loss"]


def _assert_same_logits(family, dense, sparse, atol=1e-4):
    inputs = small_hub.batch(family)
    expected = np.array(keras.ops.cast(dense(inputs), "float32"))
    logits = np.array(keras.ops.cast(sparse(inputs), "float32"))
    np.testing.assert_allclose(logits, expected, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("family", small_hub.TRACED)
def test_fit_ends_where_keras_hub_does(family):
    dense, sparse = _pair(family)
    losses = _fit(sparse, family, jit_compile=False)
    np.testing.assert_allclose(losses, _fit(dense, family), rtol=1e-5)
    assert losses[1] < losses[0]
    _assert_same_logits(family, dense, sparse)


@pytest.mark.slow
@pytest.mark.parametrize("family", small_hub.FAMILIES)
def test_lora_ends_where_keras_hub_does(family):
    dense, sparse = _pair(family)
    for model in (dense, sparse):
        keras.utils.set_random_seed(1)
        model.backbone.enable_lora(2)
        trained = [weight.name for weight in model.trainable_weights]
        # Keras leaves biases of Dense layers trainable beside the pairs.
        assert set(trained) - {"bias"} == {"lora_kernel_a", "lora_kernel_b"}
    losses = _fit(sparse, family, run_eagerly=True)
    expected = _fit(dense, family, run_eagerly=True)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert losses[1] != losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("family", small_hub.TRACED)
def test_quantized_to_8_bits_it_computes_what_keras_hub_does(family):
    dense, sparse = _pair(family)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experts are left out: see the docs
        for model in (dense, sparse):
            model.quantize("int8")
    # A difference of rounding may move an activation to the next of 255 steps.
    _assert_same_logits(family, dense, sparse, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("family", small_hub.FAMILIES)
@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_bfloat16_agrees_to_its_precision(family, policy):
    keras.config.set_dtype_policy(policy)
    try:
        dense = small_hub.make(family)
        sparse = sparsify(small_hub.make(family))
    finally:
        keras.config.set_dtype_policy("float32")
    # 8 bits: 2^-8 of logits up to 8, and some operations in another order.
    _assert_same_logits(family, dense, sparse, atol=0.15)
