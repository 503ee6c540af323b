"""`quantize`: experts and the rest in bits of their own, GPTQ, and refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import (
    FeedForwardExperts,
    GatedFeedForwardExperts,
    SparseMoE,
    TopKGate,
)
from moe_keras.packed.rounding import (
    WeightQuantization,
    round_kernel,
    values_of_codes,
)
from moe_keras.quantization import quantize, sizes_of
from moe_keras.quantization.gptq import gptq_kernel

E, D, H = 4, 24, 16
TWO_BITS = WeightQuantization(2, group_size=8)


def tokens(number=400, seed=0):
    """Tokens near a plane of three dimensions, as real ones are."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(9).normal(size=(3, D))
    x = rng.normal(size=(number, 3)) @ plane + 0.1 * rng.normal(
        size=(number, D)
    )
    return x.astype("float32")


def layer_of(kind=GatedFeedForwardExperts, **kwargs):
    return SparseMoE(
        E,
        gate=TopKGate(E, k=2, balance_loss_weight=0.0),
        expert=kind(E, H),
        **kwargs,
    )


def model_of(*layers):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((D,)), *(make() for make in layers)])


def moe_model(**kwargs):
    return model_of(lambda: layer_of(**kwargs))


class TestGptq:
    def test_inputs_of_independent_numbers_round_to_the_nearest(self):
        """Then no row can make good what another loses."""
        kernel = np.random.default_rng(0).normal(size=(D, 5))
        rounded = gptq_kernel(kernel, np.eye(D), TWO_BITS)
        nearest = round_kernel(kernel, TWO_BITS)
        for name, values in nearest.items():
            np.testing.assert_array_equal(rounded[name], values)

    @pytest.mark.parametrize("bits", [2, 3, 4])
    def test_products_change_less_than_by_the_nearest_numbers(self, bits):
        way = WeightQuantization(bits, group_size=8)
        kernel, x = np.random.default_rng(0).normal(size=(D, 5)), tokens()
        errors = [
            np.square(x @ (values_of_codes(rounded, way) - kernel)).mean()
            for rounded in (
                gptq_kernel(kernel, x, way),
                round_kernel(kernel, way),
            )
        ]
        assert errors[0] < 0.5 * errors[1]

    def test_inputs_that_are_always_zero_and_single_tokens(self):
        kernel = np.random.default_rng(0).normal(size=(D, 5))
        x = tokens(1)
        x[:, :4] = 0
        values = values_of_codes(gptq_kernel(kernel, x, TWO_BITS), TWO_BITS)
        assert np.isfinite(values).all()


@pytest.mark.parametrize("kind", [FeedForwardExperts, GatedFeedForwardExperts])
def test_calibrated_experts_change_outputs_less(kind):
    x, errors = tokens(), []
    for calibration in (None, [x[:200], x[200:]]):
        model = moe_model(kind=kind)
        before = model(x)
        quantize(model, TWO_BITS, calibration=calibration)
        errors.append(np.square(model(x) - before).mean())
    assert errors[1] < 0.8 * errors[0]


def test_an_expert_without_tokens_is_rounded_to_the_nearest():
    model, plain = moe_model(), moe_model()
    for each in (model, plain):
        kernel = each.layers[0].gate.gate_kernel
        each.layers[0].gate.gate_kernel.assign(np.zeros(kernel.shape))
    x = tokens(50)  # of equal logits the first two experts are taken
    quantize(model, TWO_BITS, calibration=[x])
    quantize(plain, TWO_BITS)
    for ours, theirs in zip(
        model.layers[0].experts.weights,
        plain.layers[0].experts.weights,
        strict=True,
    ):
        np.testing.assert_array_equal(ours[2:], theirs[2:])
    codes = [
        m.layers[0].experts.kernel_in.codes.numpy() for m in (model, plain)
    ]
    assert np.any(codes[0][:2] != codes[1][:2])


def test_padding_and_shared_experts_are_calibrated_by_real_tokens():
    x = tokens(60).reshape(3, 20, D)
    mask = np.arange(20) < np.array([20, 5, 0])[:, None]
    spoilt = np.where(mask[..., None], x, 1e3).astype("float32")
    models = []
    for inputs in (x, spoilt):
        keras.utils.set_random_seed(0)
        layer = layer_of(shared_expert=GatedFeedForwardExperts(2, H))
        layer.build((None, D))

        def run(layer=layer, inputs=inputs):
            layer(inputs, mask=mask)

        models.append(quantize(layer, TWO_BITS, calibration=run))
    for ours, theirs in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert models[0].shared_expert.quantization == TWO_BITS


def test_later_layers_are_calibrated_behind_rounded_ones():
    x, errors = tokens(), []
    for calibration in (None, [x]):
        model = model_of(layer_of, layer_of)
        before = model(x)
        quantize(model, WeightQuantization(3, 8), calibration=calibration)
        errors.append(np.square(model(x) - before).mean())
    assert errors[1] < errors[0]


def test_experts_and_the_rest_in_bits_of_their_own():
    def make():
        return model_of(lambda: keras.layers.Dense(D), layer_of)

    whole, model = make(), make()
    quantize(model, WeightQuantization(3, 32), others="int8")
    assert model.layers[0].quantization_mode == "int8"
    assert model.layers[1].experts.quantization.bits == 3
    gate = model.layers[1].gate.gate_kernel
    np.testing.assert_array_equal(gate, whole.layers[1].gate.gate_kernel)
    before, after = sizes_of(whole), sizes_of(model)
    # 3 / 8 of a byte for a weight; scales and zero points for 16 or 24 rows.
    assert after.experts == E * (3 / 8 * (D * 2 * H + H * D) + 5 * (2 * H + D))
    assert after.others < before.others / 2


def test_graphs_of_before_are_dropped():
    model, x = moe_model(), tokens()
    model.compile("sgd", "mse")
    before = model.predict(x, verbose=0)
    quantize(model, TWO_BITS)
    after = model.predict(x, verbose=0)
    np.testing.assert_allclose(after, model(x), rtol=1e-5, atol=1e-5)
    assert np.abs(after - before).max() > 0.01


def test_layers_that_cannot_be_reached_are_named():
    def make():
        return keras.Sequential(
            [
                keras.Input((5, D)),
                keras.layers.LSTM(D, return_sequences=True, name="lstm"),
                layer_of(),
                keras.layers.Dense(3),
            ]
        )

    model = make()
    before = [weight.dtype for weight in model.weights]
    with pytest.raises(ValueError, match=r"lstm.*\(LSTMCell\)"):
        quantize(model, "int8", others="int8")
    assert [weight.dtype for weight in model.weights] == before
    quantize(model, "int8", others="int8", keep=["lstm"])
    assert model.layers[-1].quantization_mode == "int8"


def test_experts_that_are_keras_layers_take_the_modes_of_keras():
    def make():
        keras.utils.set_random_seed(0)
        layer = SparseMoE(3, k=2, expert=lambda: keras.layers.Dense(D))
        layer.build((None, D))
        return layer

    layer = quantize(make(), "int8")
    assert layer.experts.experts[0].quantization_mode == "int8"
    with pytest.raises(ValueError, match="know 'int8' and 'int4' alone"):
        quantize(make(), TWO_BITS)


def test_what_cannot_be_done_is_refused_before_anything_is_changed():
    model = moe_model()
    with pytest.raises(ValueError, match="has not called the layer"):
        quantize(model, TWO_BITS, calibration=lambda: None)
    compiled = tf.function(lambda: model(tokens()))
    with pytest.raises(ValueError, match="calibrated outside of graphs"):
        quantize(model, TWO_BITS, calibration=compiled.get_concrete_function)
    with pytest.raises(ValueError, match="`calibration` must be an iterable"):
        quantize(model, TWO_BITS, calibration=3)
    with pytest.raises(ValueError, match="`others` must be 'int8' or"):
        quantize(model, TWO_BITS, others="float8")
    assert model.layers[0].experts.quantization is None
    with pytest.raises(ValueError, match="`model` must be.*built"):
        quantize(layer_of(), "int8")
    quantize(model, "int4")
    with pytest.raises(ValueError, match="few bits already"):
        quantize(model, "int4")
