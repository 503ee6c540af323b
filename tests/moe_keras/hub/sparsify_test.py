"""Each family computes what keras-hub computes, over the chosen experts."""

import keras
import numpy as np
import pytest
import small_hub
import tensorflow as tf

from moe_keras.hub import densify, sparsify, versions

# Float32 has 7 digits; a few products of 16 and sums over 6 experts, in
# another order, cost one of them.
ROUNDING = 5e-6


@pytest.fixture(scope="module", params=small_hub.FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def dense(family):
    return small_hub.make(family)


@pytest.fixture(scope="module")
def sparse(family):
    return sparsify(small_hub.make(family))


def test_logits_are_those_of_keras_hub(family, dense, sparse):
    inputs = small_hub.batch(family)
    expected = dense(inputs).numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(
        sparse(inputs), expected, atol=ROUNDING * np.abs(expected).max()
    )


def test_losses_and_gradients_are_those_of_keras_hub(family, dense, sparse):
    _assert_same_losses_and_gradients(family, dense, sparse)


@pytest.mark.parametrize(
    "family",
    [
        each
        if each == "mixtral"
        else pytest.param(each, marks=pytest.mark.slow)
        for each in small_hub.FAMILIES
    ],
)
def test_one_expert_takes_all_tokens(family):
    k = "num_experts_per_token" if family == "gemma4" else "top_k"
    dense, sparse = (
        small_hub.make(family, num_experts=1, **{k: 1}) for _ in range(2)
    )
    sparsify(sparse)
    inputs = small_hub.batch(family)
    expected = dense(inputs).numpy()
    atol = ROUNDING * np.abs(expected).max()
    np.testing.assert_allclose(sparse(inputs), expected, atol=atol)
    _assert_same_losses_and_gradients(family, dense, sparse, vanishing=1e-6)


def _assert_same_losses_and_gradients(family, dense, sparse, vanishing=0.0):
    """Gradients differ by the rounding of their largest number.

    `vanishing`: rounding, of the largest number of all gradients, of those
    that are next to nothing: sums of numbers as large as the others'.
    """
    inputs, targets, weights = small_hub.training_data(family)

    def losses_and_gradients(model):
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            losses = tf.stack([*model.losses, 0.0])
            loss = tf.reduce_sum(losses) + tf.reduce_mean(
                weights
                * keras.losses.sparse_categorical_crossentropy(
                    targets, logits, from_logits=True
                )
            )
        gradients = tape.gradient(loss, model.trainable_variables)
        return losses, [tf.convert_to_tensor(each) for each in gradients]

    expected_losses, expected = losses_and_gradients(dense)
    losses, gradients = losses_and_gradients(sparse)
    # Two layers, and the 0; GPT-OSS and Gemma 4 have no balancing loss.
    assert len(losses) == (1 if family in ("gpt_oss", "gemma4") else 3)
    np.testing.assert_allclose(losses, expected_losses, rtol=ROUNDING)
    # One scale before a norm has a gradient of next to nothing: rounding.
    scale = max(np.abs(reference).max() for reference in expected)
    for gradient, reference in zip(gradients, expected, strict=True):
        largest = np.abs(reference).max()
        atol = 2 * ROUNDING * largest + max(1e-9, vanishing * scale)
        np.testing.assert_allclose(gradient, reference, atol=atol)


@pytest.mark.slow
def test_one_token_reads_the_weights_of_k_experts(family, dense):
    model = sparsify(small_hub.make(family))
    inputs = small_hub.batch(family, lengths=[1])
    inputs = {name: value[:, :1] for name, value in inputs.items()}
    # kernel_out of the last layer.
    kernel = small_hub.expert_weights(model)[-1]
    whole = kernel.numpy()

    def is_spoilt_by(expert):
        spoilt = whole.copy()
        spoilt[expert] = np.nan
        kernel.assign(spoilt)
        return bool(np.isnan(model(inputs)).any())

    k = small_hub.experts_per_token(model)
    assert sum(map(is_spoilt_by, range(len(whole)))) == k < len(whole)
    densify(model)
    assert all(map(is_spoilt_by, range(len(whole))))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "blocks"])
def test_logits_of_blocks_are_those_of_keras_hub(family, dense, engine):
    inputs = small_hub.batch(family)
    expected = dense(inputs).numpy()
    model = sparsify(small_hub.make(family), engine=engine)
    if engine == "auto":  # blocks where XLA compiles
        if family == "qwen3_5_moe":
            pytest.skip("XLA takes minutes for keras-hub's linear attention")
        inputs = {name: tf.constant(each) for name, each in inputs.items()}
        model = tf.function(model, jit_compile=True)
    np.testing.assert_allclose(
        model(inputs), expected, atol=ROUNDING * np.abs(expected).max()
    )


def test_densify_gives_back_the_model_of_before(family, dense):
    inputs = small_hub.batch(family)
    model = small_hub.make(family)
    before = {name: set(vars(each)) for name, each in _by_path(model)}
    densify(sparsify(sparsify(model)))
    assert {name: set(vars(each)) for name, each in _by_path(model)} == before
    np.testing.assert_array_equal(model(inputs), dense(inputs))


def _by_path(model):
    return [(each.path, each) for each in model._flatten_layers()]


def test_backbones_and_layers_are_taken_too():
    model = small_hub.make("mixtral")
    assert sparsify(model.backbone) is model.backbone
    assert _is_sparse(model.backbone.transformer_layers[0]._sparse_moe_block)
    densify(model.backbone)
    layers = model.backbone.transformer_layers
    sparsify(layers[1])
    assert not _is_sparse(layers[0]._sparse_moe_block)
    assert _is_sparse(layers[1]._sparse_moe_block)
    densify(layers[1]._sparse_moe_block)
    assert not _is_sparse(layers[1]._sparse_moe_block)


def _is_sparse(block):
    return "call" in vars(block)


def test_graphs_of_before_are_dropped():
    model = small_hub.compiled(small_hub.make("mixtral"), jit_compile=False)
    inputs = small_hub.batch("mixtral")
    dense = model.predict(inputs, verbose=0)
    sparsify(model)
    assert model.predict_function is None
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), dense, atol=1e-4
    )
    assert model.predict_function is not None
    densify(model)
    assert model.predict_function is None


@pytest.mark.parametrize(
    "engine, compiles", [("auto", True), ("blocks", True), ("segments", False)]
)
@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`")
def test_segments_turn_xla_off_and_the_others_leave_it(engine, compiles):
    model = small_hub.compiled(small_hub.make("mixtral"), jit_compile=True)
    assert model.jit_compile
    assert sparsify(model, engine=engine).jit_compile == compiles
    assert small_hub.compiled(model, jit_compile=True).jit_compile == compiles


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="auto, segments, blocks.*'ragged'"):
        sparsify(small_hub.make("mixtral"), engine="ragged")


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="KERAS_BACKEND.*'jax'"):
        sparsify(keras.layers.Dense(1))


@pytest.mark.parametrize("version", ["0.31.1", "0.33.0", "1.32.0", "0.320.0"])
def test_an_unknown_version_is_refused(version, monkeypatch):
    monkeypatch.setattr(versions.keras_hub, "__version__", version)
    with pytest.raises(RuntimeError, match=f"0.32.*Received.*{version}"):
        sparsify(keras.layers.Dense(1))


def test_patches_of_a_known_version_are_known(monkeypatch):
    monkeypatch.setattr(versions.keras_hub, "__version__", "0.32.7.dev1")
    versions.check_versions()


@pytest.mark.parametrize("act", [sparsify, densify])
def test_a_model_without_experts_is_refused(act):
    with pytest.raises(ValueError, match="Mixtral, Qwen1.5-MoE.*has none"):
        act(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="task, a backbone or a layer"):
        act("mixtral_8_7b_en")


def test_a_dense_gemma4_is_refused():
    model = small_hub.gemma4(enable_moe_block=False)
    with pytest.raises(ValueError, match="has none"):
        sparsify(model)


def test_a_derived_block_is_refused():
    block = small_hub.make("mixtral").backbone.transformer_layers[0]
    kind = type(block._sparse_moe_block)

    class MyBlock(kind):
        pass

    mine = MyBlock(hidden_dim=16, intermediate_dim=4, num_experts=3)
    mine.build((None, None, 16))
    with pytest.raises(ValueError, match="derived from them.*MyBlock"):
        sparsify(mine)


def test_a_block_that_is_not_built_is_refused():
    block = small_hub.make("mixtral").backbone.transformer_layers[0]
    kind = type(block._sparse_moe_block)
    new = kind(hidden_dim=16, intermediate_dim=4, num_experts=3)
    with pytest.raises(ValueError, match="must be built.*is not built"):
        sparsify(new)


def test_a_batch_of_no_texts():
    block = sparsify(small_hub.make("mixtral")).backbone.transformer_layers[0]
    assert block(tf.zeros((0, 5, 16))).shape == (0, 5, 16)


def test_jitter_of_mixtral_moves_the_inputs_of_training_alone():
    model = small_hub.make("mixtral", router_jitter_noise=0.5)
    inputs = small_hub.batch("mixtral")
    expected = model(inputs).numpy()
    with pytest.raises(AttributeError, match="random"):
        model(inputs, training=True)
    sparsify(model)
    keras.utils.set_random_seed(0)
    np.testing.assert_allclose(model(inputs), expected, atol=1e-4)
    first, second = (model(inputs, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0.01
