"""Low-rank pairs for keras-hub's experts, beside a loop over W + A B."""

import keras
import numpy as np
import pytest
import small_hub
import tensorflow as tf

from moe_keras.hub import densify, enable_lora, merge_lora, quantize, sparsify
from moe_keras.hub.sparsify import find_blocks

RANK, ALPHA = 2, 3.0


def fast_for(*fast):
    """All families, as a parameter; slow but for those that are named."""
    return pytest.mark.parametrize(
        "family",
        [
            family
            if family in fast
            else pytest.param(family, marks=pytest.mark.slow)
            for family in small_hub.FAMILIES
        ],
    )


def make(family, seed=0):
    """One layer: what holds of its bank holds of all."""
    sizes = {"num_layers": 1}
    if family in ("qwen3_5_moe", "gemma4"):
        sizes["layer_types"] = ["full_attention"]
    return small_hub.make(family, seed, **sizes)


def banks(model):
    return [
        (family.bank(layer), family.kernels)
        for family, layer, _ in find_blocks(model)
    ]


def pairs_of(model):
    return [
        getattr(bank, name) for bank, names in banks(model) for name in names
    ]


def with_pairs(family, seed=3, **arguments):
    """A model whose pairs are random, B included."""
    model = enable_lora(make(family), RANK, ALPHA, **arguments)
    rng = np.random.default_rng(seed)
    for weight in pairs_of(model):
        for each in (weight.a, weight.b):
            each.assign(rng.normal(scale=0.3, size=each.shape))
    return model


def added_by_a_loop(model, family):
    """keras-hub's own model with W + alpha / r A B written into it."""
    dense = make(family)
    pairs = iter(pairs_of(model))
    for bank, names in banks(dense):
        for name in names:
            weight, kernels = next(pairs), getattr(bank, name).numpy()
            for expert, kernel in enumerate(kernels):
                a, b = weight.a.numpy()[expert], weight.b.numpy()[expert]
                kernel += ALPHA / RANK * a @ b
            getattr(bank, name).assign(kernels)
    return dense


@fast_for("mixtral", "gpt_oss")
def test_logits_are_those_of_kernels_and_pairs_added_up(family):
    model, inputs = with_pairs(family), small_hub.batch(family)
    expected = added_by_a_loop(model, family)(inputs)
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-4, atol=1e-4)
    # One row of one token: the path of `generate`.
    one = {name: value[:1, :1] for name, value in inputs.items()}
    expected = added_by_a_loop(model, family)(one)
    np.testing.assert_allclose(model(one), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ["segments", "blocks"])
@fast_for("mixtral", "gpt_oss")
def test_gradients_are_those_of_the_loop_by_the_chain_rule(family, engine):
    model, inputs = with_pairs(family), small_hub.batch(family)
    sparsify(model, engine)
    dense = added_by_a_loop(model, family)
    kernels = [getattr(bank, n) for bank, names in banks(dense) for n in names]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(dense(inputs, training=True) ** 2)
    d_kernels = tape.gradient(loss, [kernel.value for kernel in kernels])
    pairs = pairs_of(model)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(inputs, training=True) ** 2)
    d_pairs = tape.gradient(
        loss, [[weight.a.value, weight.b.value] for weight in pairs]
    )
    for weight, d_kernel, (d_a, d_b) in zip(
        pairs, d_kernels, d_pairs, strict=True
    ):
        a, b, d_kernel = weight.a.numpy(), weight.b.numpy(), d_kernel.numpy()
        scale = ALPHA / RANK  # W + s A B: dA = s dW B^T and dB = s A^T dW
        expected_a = scale * d_kernel @ b.transpose(0, 2, 1)
        expected_b = scale * a.transpose(0, 2, 1) @ d_kernel
        for found, expected in ((d_a, expected_a), (d_b, expected_b)):
            atol = 1e-4 * np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=atol)


@fast_for("mixtral")
def test_pairs_train_and_nothing_else_does(family):
    model = enable_lora(make(family), RANK, attention=False)
    names = {weight.name for weight in model.trainable_weights}
    assert all(name.endswith(("_lora_a", "_lora_b")) for name in names), names
    before = {id(w): w.numpy() for w in model.weights}
    inputs, targets, weights = small_hub.training_data(family)
    small_hub.compiled(model, run_eagerly=True)
    losses = model.fit(
        inputs, targets, sample_weight=weights, epochs=2, verbose=0
    ).history["loss"]
    assert losses[1] < losses[0]
    changed = [
        w.name for w in model.weights if (w.numpy() != before[id(w)]).any()
    ]
    # B begins with zeros, so that only the second step has a gradient of A.
    assert set(changed) == names


@fast_for("mixtral")
def test_one_call_also_gives_pairs_to_the_attention(family):
    ours, theirs = (make(family) for _ in range(2))
    enable_lora(ours, RANK)
    theirs.backbone.enable_lora(RANK)
    expected = [weight.path for weight in theirs.trainable_weights]
    found = [w.path for w in ours.trainable_weights if "expert" not in w.path]
    found = [p for p in found if not p.endswith(("_lora_a", "_lora_b"))]
    assert [p.split("/")[1:] for p in found] == [
        p.split("/")[1:] for p in expected
    ]


def test_pairs_of_the_attention_made_before_are_kept():
    model = make("mixtral")
    model.backbone.enable_lora(5, target_layer_names=["query"])
    before = {weight.path for weight in model.trainable_weights}
    enable_lora(model, RANK)
    after = {weight.path for weight in model.trainable_weights}
    assert before < after
    assert len(after - before) == 6  # 3 kernels with 2 matrices each


@fast_for("mixtral")
def test_files_hold_them_added_up(family, tmp_path):
    model, inputs = with_pairs(family), small_hub.batch(family)
    expected = model(inputs)
    model.save_weights(tmp_path / "model.weights.h5")
    dense = make(family, seed=9)
    dense.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(dense(inputs), expected, rtol=1e-4, atol=1e-4)
    # Into a model with pairs: they add nothing, and may train on.
    again = with_pairs(family, seed=4)
    again.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(again(inputs), expected, rtol=1e-4, atol=1e-4)
    assert all(not weight.b.numpy().any() for weight in pairs_of(again))
    assert all(weight.a.numpy().any() for weight in pairs_of(again))


@pytest.mark.slow
@pytest.mark.parametrize("family", small_hub.FAMILIES)
def test_models_and_presets_are_those_of_any_other(family, tmp_path):
    model, inputs = with_pairs(family), small_hub.batch(family)
    small_hub.compiled(model)
    expected = model(inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(inputs), expected, rtol=1e-4, atol=1e-4)
    model.save_to_preset(str(tmp_path / "preset"))
    loaded = type(model).from_preset(
        str(tmp_path / "preset"), preprocessor=None
    )
    np.testing.assert_allclose(loaded(inputs), expected, rtol=1e-4, atol=1e-4)


@fast_for("mixtral")
def test_merged_it_is_a_model_as_any_other(family):
    model, inputs = with_pairs(family), small_hub.batch(family)
    expected = model(inputs)
    with pytest.raises(ValueError, match="merge_lora"):
        densify(model)
    with pytest.raises(ValueError, match="merge_lora"):
        quantize(model, "int8")
    with pytest.raises(ValueError, match="pairs already"):
        enable_lora(model, RANK)
    densify(merge_lora(model))
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-4, atol=1e-4)
    names = [w.name for bank, _ in banks(model) for w in bank.weights]
    plain = make(family)
    assert names == [w.name for bank, _ in banks(plain) for w in bank.weights]
    with pytest.raises(ValueError, match="no low-rank pairs"):
        merge_lora(model)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("family", small_hub.TRACED)
def test_it_generates_what_the_merged_model_does(family, jit_compile):
    if jit_compile and family == "qwen3_5_moe":
        pytest.skip("XLA takes minutes for keras-hub's linear attention")
    model = with_pairs(family)
    dense = added_by_a_loop(model, family)
    answers = [
        small_hub.compiled(each, jit_compile=jit_compile).generate(
            small_hub.batch(family), stop_token_ids=None
        )["token_ids"]
        for each in (model, dense)
    ]
    np.testing.assert_array_equal(*answers)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16"])
def test_pairs_are_float32_in_bfloat16(policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model, dense = with_pairs("mixtral"), make("mixtral")
    finally:
        keras.config.set_dtype_policy("float32")
    assert {w.a.dtype for w in pairs_of(model)} == {"float32"}
    inputs = small_hub.batch("mixtral")
    model.save_weights(tmp_path / "model.weights.h5")
    dense.load_weights(tmp_path / "model.weights.h5")
    found, expected = (
        keras.ops.convert_to_numpy(keras.ops.cast(each(inputs), "float32"))
        for each in (model, dense)
    )
    # 8 bits: 2^-8 of logits up to 8, and some operations in another order.
    np.testing.assert_allclose(found, expected, atol=0.15)
    small_hub.compiled(model).fit(
        *small_hub.training_data("mixtral")[:2], verbose=0
    )


def test_a_quantized_model_is_refused():
    model = quantize(make("mixtral"), "int4")
    with pytest.raises(ValueError, match="few bits"):
        enable_lora(model, RANK)


@pytest.mark.parametrize(
    "arguments", [{"rank": 0}, {"rank": 2, "lora_alpha": 0}]
)
def test_a_bad_rank_changes_nothing(arguments):
    model = make("mixtral")
    with pytest.raises(ValueError, match="rank|lora_alpha"):
        enable_lora(model, **arguments)
    assert all(weight.trainable for weight in model.weights)
