"""keras-hub's experts in few bits; their routers as they are."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import small_hub

from moe_keras.hub import (
    FAMILIES,
    densify,
    load_quantized,
    quantize,
    sparsify,
)
from moe_keras.hub.sparsify import find_blocks
from moe_keras.packed.rounding import (
    WeightQuantization,
    round_kernel,
    values_of_codes,
)

THREE_BITS = WeightQuantization(3, group_size=8)
# Of Qwen3.5: a linear attention of keras-hub's own, which Keras cannot round.
KEEP = {"qwen3_5_moe": ["linear_attn"]}


def banks(model):
    """Pairs of the layer that holds kernels, and their names."""
    return [
        (family.bank(layer), family.kernels)
        for family, layer, _ in find_blocks(model)
    ]


def router_weights(model):
    return [
        weight.numpy()
        for family, layer, _ in find_blocks(model)
        for router in family.routers(layer)
        for weight in router.weights
    ]


@pytest.mark.parametrize("family", small_hub.FAMILIES)
def test_experts_compute_with_the_rounded_kernels(family):
    model, plain = small_hub.make(family), sparsify(small_hub.make(family))
    inputs, routers = small_hub.batch(family), router_weights(model)
    for bank, names in banks(plain):
        for name in names:
            weight = getattr(bank, name)
            weight.assign(
                [
                    values_of_codes(
                        round_kernel(kernel, THREE_BITS), THREE_BITS
                    )
                    for kernel in weight.numpy()
                ]
            )
    quantize(model, THREE_BITS)
    np.testing.assert_allclose(
        model(inputs), plain(inputs), rtol=1e-4, atol=1e-4
    )
    for before, after in zip(routers, router_weights(model), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.slow
@pytest.mark.parametrize("family", small_hub.FAMILIES)
def test_the_rest_is_quantized_by_keras_and_routers_are_not(family):
    model = small_hub.make(family)
    routers = router_weights(model)
    keep = KEEP.get(family, [])
    quantize(model, "int4", others="int8", keep=keep)
    for before, after in zip(routers, router_weights(model), strict=True):
        np.testing.assert_array_equal(after, before)
    modes = [layer.quantization_mode for layer in model._flatten_layers()]
    assert "int8" in modes
    assert np.isfinite(model(small_hub.batch(family))).all()


def test_greedy_generation_and_graphs_of_before():
    model = small_hub.compiled(small_hub.make("mixtral"))
    prompt = small_hub.batch("mixtral", lengths=(3, 2))
    model.generate(prompt, stop_token_ids=None)  # a graph of float kernels
    quantize(model, WeightQuantization(2))
    generated = model.generate(prompt, stop_token_ids=None)["token_ids"]
    logits = np.asarray(
        model({**prompt, "token_ids": generated, "padding_mask": generated > 0})
    )
    np.testing.assert_array_equal(
        generated[0, 3:], logits[0, 2:-1].argmax(axis=-1)
    )


def test_gptq_changes_the_blocks_outputs_less():
    inputs, errors = small_hub.batch("mixtral"), []
    for calibration in (None, [inputs]):
        model = small_hub.make("mixtral", num_layers=1)
        before = np.asarray(model(inputs))
        quantize(model, WeightQuantization(2, 8), calibration=calibration)
        errors.append(np.square(np.asarray(model(inputs)) - before).mean())
    assert errors[1] < errors[0]


def test_weights_and_files_are_loaded_in_a_fresh_process(tmp_path):
    model = quantize(small_hub.make("mixtral"), "int4", others="int8")
    inputs = small_hub.batch("mixtral")
    model.save_weights(tmp_path / "few.weights.h5")
    model.save(tmp_path / "few.keras")
    np.save(tmp_path / "expected.npy", model(inputs))
    script = (
        "import sys, keras, numpy as np, small_hub;"
        "from moe_keras.hub import load_quantized, quantize;"
        "model = quantize(small_hub.make('mixtral', seed=5), 'int4', 'int8');"
        "model.load_weights(sys.argv[1] + '/few.weights.h5');"
        "expected = np.load(sys.argv[1] + '/expected.npy');"
        "load = keras.saving.load_model;"
        "other = load_quantized(load, sys.argv[1] + '/few.keras');"
        "inputs = small_hub.batch('mixtral');"
        "[np.testing.assert_allclose(each(inputs), expected, atol=1e-5)"
        " for each in (model, other)]"
    )
    folder = small_hub.__file__.rpartition("/")[0]
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({folder!r})"
         f"; {script}", str(tmp_path)],
        check=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "family",
    [
        family
        if family == "mixtral"
        else pytest.param(family, marks=pytest.mark.slow)
        for family in small_hub.FAMILIES
    ],
)
def test_files_and_presets_are_loaded_beside_other_models(family, tmp_path):
    """Whose blocks without a name have taken the paths that are in the file."""
    model, inputs = small_hub.make(family), small_hub.batch(family)
    quantize(model, THREE_BITS, others="int4", keep=KEEP.get(family, []))
    expected = np.asarray(model(inputs))
    model.save(tmp_path / "few.keras")
    with pytest.raises(ValueError, match="load it by `moe_keras.hub.load_q"):
        keras.saving.load_model(tmp_path / "few.keras")
    loaded = load_quantized(keras.saving.load_model, tmp_path / "few.keras")
    folder = str(tmp_path / "preset")
    loaded.save_to_preset(folder)
    again = load_quantized(type(model).from_preset, folder)
    for each in (loaded, again):
        np.testing.assert_array_equal(each(inputs), expected)
        assert {"int4", None} == {
            layer.quantization_mode for layer in each._flatten_layers()
        }
    for before, after in zip(
        router_weights(model), router_weights(again), strict=True
    ):
        np.testing.assert_array_equal(after, before)


def test_models_of_keras_hub_that_are_whole_load_as_ever(tmp_path):
    model, inputs = small_hub.make("mixtral"), small_hub.batch("mixtral")
    model.save(tmp_path / "whole.keras")
    loaded = load_quantized(keras.saving.load_model, tmp_path / "whole.keras")
    np.testing.assert_allclose(
        loaded(inputs), model(inputs), rtol=1e-5, atol=1e-5
    )


def test_what_cannot_be_done_is_refused():
    model = small_hub.make("mixtral")
    with pytest.raises(ValueError, match="has not called the block"):
        quantize(model, "int8", calibration=lambda: None)
    quantize(model, "int8")
    with pytest.raises(ValueError, match="few bits already"):
        quantize(model, "int8")
    with pytest.raises(ValueError, match="a quantized model stays sparse"):
        densify(model)


def test_layers_that_keras_cannot_quantize_are_named():
    model = small_hub.make("qwen3_5_moe")
    with pytest.raises(ValueError, match="cannot reach.*Conv|cannot reach"):
        quantize(model, "int8", others="int8")


def test_every_family_says_where_its_kernels_are():
    assert all(family.kernels for family in FAMILIES)
