"""What one does with a model of keras-hub works with a sparse one."""

import warnings

import keras
import numpy as np
import pytest
import small_hub

from moe_keras.hub import sparsify


@pytest.fixture(params=small_hub.FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def pair(family):
    """The same model, as keras-hub computes it and sparse."""
    return small_hub.make(family), sparsify(small_hub.make(family))


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


def test_fit_ends_where_keras_hub_does(family, pair):
    dense, sparse = pair
    losses = _fit(sparse, family, jit_compile=False)
    np.testing.assert_allclose(losses, _fit(dense, family), rtol=1e-5)
    assert losses[1] < losses[0]
    _assert_same_logits(family, dense, sparse)


def test_lora_ends_where_keras_hub_does(family, pair):
    for model in pair:
        keras.utils.set_random_seed(1)
        model.backbone.enable_lora(2)
    dense, sparse = pair
    losses = _fit(sparse, family, run_eagerly=True)
    expected = _fit(dense, family, run_eagerly=True)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert losses[1] < losses[0]


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_quantized_to_8_bits_it_computes_what_keras_hub_does(family, pair):
    dense, sparse = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experts are left out: see the docs
        for model in pair:
            model.quantize("int8")
    # A difference of rounding may move an activation to the next of 255 steps.
    _assert_same_logits(family, dense, sparse, atol=0.02)


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
