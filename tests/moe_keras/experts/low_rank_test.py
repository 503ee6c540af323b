"""LoRA of experts: one low-rank pair for each kernel of each expert."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_moe import layout_named, wholes

from moe_keras import (
    FeedForwardExperts,
    GatedFeedForwardExperts,
    SparseMoE,
    TopKGate,
)
from moe_keras.experts import StackedExperts

E, D, H, RANK = 4, 5, 6, 2
KINDS = {"plain": FeedForwardExperts, "gated": GatedFeedForwardExperts}


def tokens(number=9, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(number, D)).astype("float32")


def layer_of(kind="plain", experts=E, dtype=None, **kwargs):
    gate = TopKGate(
        experts, k=2, balance_loss_weight=0.0, dtype=dtype, name="gate"
    )
    return SparseMoE(
        experts,
        gate=gate,
        expert=KINDS[kind](experts, H, dtype=dtype, name="experts", **kwargs),
        dtype=dtype,
        name="moe",
    )


def with_random_pairs(layer, seed=2):
    rng = np.random.default_rng(seed)
    for name, weight in layer.experts.expert_weights.items():
        if "lora" in name:
            weight.assign(rng.normal(size=weight.shape))
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_stay_until_pairs_learn(kind):
    layer, x = layer_of(kind), tokens()
    before = np.asarray(layer(x))
    layer.enable_lora(RANK)
    np.testing.assert_array_equal(layer(x), before)
    shapes = {
        name: tuple(weight.shape)
        for name, weight in layer.experts.expert_weights.items()
        if "lora" in name
    }
    width = H if kind == "plain" else 2 * H
    assert shapes == {
        "kernel_in_lora_a": (E, D, RANK),
        "kernel_in_lora_b": (E, RANK, width),
        "kernel_out_lora_a": (E, H, RANK),
        "kernel_out_lora_b": (E, RANK, D),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_added_to_the_kernels_of_their_experts(kind):
    layer, x = layer_of(kind), tokens()
    layer(x)
    layer.enable_lora(RANK, lora_alpha=3.0)
    with_random_pairs(layer)
    outputs = layer(x)
    weights = layer.experts.expert_weights
    other = layer_of(kind)
    other(x)
    other.gate.gate_kernel.assign(layer.gate.gate_kernel)
    for name in ("kernel_in", "kernel_out"):
        a, b = (weights[f"{name}_lora_{each}"].numpy() for each in "ab")
        products = np.stack([a[e] @ b[e] for e in range(E)])
        kernel = weights[name].numpy() + 3.0 / RANK * products
        other.experts.expert_weights[name].assign(kernel)
    np.testing.assert_allclose(outputs, other(x), rtol=1e-5, atol=1e-5)


def test_training_moves_pairs_and_leaves_kernels():
    inputs = keras.Input((D,))
    layer = layer_of()
    model = keras.Model(inputs, layer(inputs))
    layer.enable_lora(RANK)
    layer.gate.trainable = False
    model.compile(keras.optimizers.Adam(0.1), "mse")
    before = {w.path: w.numpy() for w in layer.weights}
    model.fit(tokens(40), tokens(40, seed=1), epochs=2, verbose=0)
    moved = {
        w.path.split("/")[-1]
        for w in layer.weights
        if np.any(w.numpy() != before[w.path])
    }
    assert moved == {
        *(
            f"kernel_{way}_lora_{each}"
            for way in ("in", "out")
            for each in "ab"
        ),
        "bias_in",
        "bias_out",
    }


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_frozen_kernels_get_no_gradient_and_the_rest_the_same(
    kind, recompute, compiled
):
    """Against kernels with the product of their pair added, which train.

    In float64: gradients of 1,000 that nearly cancel leave errors of 4e-4 in
    float32.
    """

    def results(layer, kernels_train):
        weights = layer.experts.expert_weights
        for name in ("kernel_in", "kernel_out"):
            weights[name].trainable = kernels_train
        sources = [v.value for v in (*weights.values(), *layer.gate.weights)]
        x = tf.constant(tokens(), tf.float64)

        def run():
            with tf.GradientTape() as tape:
                tape.watch([x, *sources])
                y = layer(x, training=True)
                loss = tf.reduce_sum(y**2)
            return y, tape.gradient(loss, [x, *sources])

        run = tf.function(run, jit_compile=True) if compiled else run
        y, (d_x, *gradients) = run()
        return y, d_x, dict(zip([*weights, "gate"], gradients, strict=True))

    layer = layer_of(kind, dtype="float64", use_bias=True, recompute=recompute)
    layer(tokens())
    layer.enable_lora(RANK, lora_alpha=3.0)
    with_random_pairs(layer)
    y, d_x, gradients = results(layer, kernels_train=False)
    expected_y, expected_d_x, expected = results(layer, kernels_train=True)
    for name in ("kernel_in", "kernel_out"):
        assert gradients.pop(name) is None
        assert np.abs(expected.pop(name)).max() > 0
    close = {"rtol": 1e-9, "atol": 1e-9}
    assert all(g.dtype == tf.float64 for g in (y, d_x))
    np.testing.assert_allclose(y, expected_y, **close)
    np.testing.assert_allclose(d_x, expected_d_x, **close)
    assert len(gradients) == 7
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            gradient, expected[name], err_msg=name, **close
        )


def test_slices_of_pairs_are_those_of_busy_experts():
    layer = layer_of()
    layer(tokens())
    layer.enable_lora(RANK)
    with_random_pairs(layer)
    a = layer.experts.expert_weights["kernel_in_lora_a"]
    gradients = []
    for sparse in (False, True):
        layer.experts.sparse_gradients = sparse
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tokens(1), training=True) ** 2)
        gradients.append(tape.gradient(loss, a.value))
    assert gradients[1].values.shape[0] == 2  # k of one token, of E = 4
    np.testing.assert_allclose(
        tf.convert_to_tensor(gradients[1]), gradients[0], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_merged_kernels_give_the_same_outputs_and_train_again(kind):
    layer, x = layer_of(kind), tokens()
    names = [w.path for w in (layer(x), layer)[1].weights]
    layer.enable_lora(RANK)
    outputs = with_random_pairs(layer)(x)
    layer.experts.merge_lora()
    np.testing.assert_allclose(layer(x), outputs, rtol=1e-5, atol=1e-5)
    assert [w.path for w in layer.weights] == names
    assert layer.experts.kernel_in.trainable
    assert layer.experts.lora_rank is None


@pytest.mark.parametrize("when", ["made", "later"])
def test_file_holds_kernels_pairs_and_slots(when, tmp_path):
    """Made with pairs or given them later, a loaded model goes on as it was."""
    inputs = keras.Input((D,))
    if when == "made":
        layer = layer_of(lora_rank=RANK, lora_alpha=3)
    else:
        layer = layer_of()
    model = keras.Model(inputs, layer(inputs))
    if when == "later":
        layer.enable_lora(RANK, lora_alpha=3)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x, y = tokens(40), tokens(40, seed=1)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    experts = loaded.layers[-1].experts
    assert (experts.lora_rank, experts.lora_alpha) == (RANK, 3)
    for each in (model, loaded):
        each.fit(x, y, batch_size=40, shuffle=False, verbose=0)
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-5, atol=1e-6)


def test_default_experts_with_pairs_are_saved(tmp_path):
    inputs = keras.Input((D,))
    layer = SparseMoE(E, k=2, hidden_dim=H, activation="gelu")
    model = keras.Model(inputs, layer(inputs))
    layer.enable_lora(RANK)
    with_random_pairs(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(tokens()), model(tokens()))


def test_weights_from_before_are_loaded_and_others_refused(tmp_path):
    plain, paired = layer_of(), layer_of(lora_rank=RANK)
    x = tokens()
    models = []
    for layer in (plain, paired):
        inputs = keras.Input((D,))
        models.append(keras.Model(inputs, layer(inputs)))
        models[-1].save_weights(tmp_path / f"{len(models)}.weights.h5")
    models[1].load_weights(tmp_path / "1.weights.h5")
    np.testing.assert_array_equal(models[1](x), models[0](x))
    with pytest.raises(ValueError, match="[Cc]all `enable_lora"):
        models[0].load_weights(tmp_path / "2.weights.h5")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["experts", "exchange_and_hidden"])
def test_layouts_split_pairs_like_their_kernels(name, kind):
    def outputs_and_gradients(layer):
        layer(tokens())
        layer.enable_lora(RANK)
        with_random_pairs(layer)
        with tf.GradientTape() as tape:
            outputs = layer(tokens(), training=True)
            loss = tf.reduce_sum(outputs**2)
        gradients = tape.gradient(loss, layer.trainable_variables)
        return outputs, wholes(layer, gradients)

    keras.utils.set_random_seed(1)
    expected, d_expected = outputs_and_gradients(layer_of(kind, experts=8))
    keras.utils.set_random_seed(1)
    with layout_named(name).scope():
        layer = layer_of(kind, experts=8)
        layer.build((None, D))
    outputs, d_outputs = outputs_and_gradients(layer)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    assert d_outputs.keys() == d_expected.keys()
    for path, gradient in d_expected.items():
        np.testing.assert_allclose(
            d_outputs[path], gradient, rtol=1e-3, atol=1e-3, err_msg=path
        )


def test_experts_that_are_keras_layers_get_pairs_of_keras():
    layer = SparseMoE(
        3, k=2, expert=lambda: keras.layers.Dense(D, name="expert")
    )
    layer(tokens())
    layer.enable_lora(RANK)
    assert all(expert.lora_enabled for expert in layer.experts.experts)


def test_what_cannot_have_pairs_is_refused():
    layer = layer_of()
    with pytest.raises(ValueError, match="`enable_lora` needs the weights"):
        layer.experts.enable_lora(RANK)
    layer(tokens())
    with pytest.raises(ValueError, match="no low-rank pairs to merge"):
        layer.experts.merge_lora()
    with pytest.raises(ValueError, match="`rank` must be at least 1"):
        layer.enable_lora(0)
    layer.enable_lora(RANK)
    with pytest.raises(ValueError, match="has low-rank pairs already"):
        layer.enable_lora(RANK)
    others = SparseMoE(3, k=2, expert=keras.layers.ReLU)
    others(tokens())
    with pytest.raises(ValueError, match="no layer with `enable_lora`"):
        others.enable_lora(RANK)


class Scaled(StackedExperts):
    def __init__(self, num_experts, **kwargs):
        super().__init__(**kwargs)
        self.num_experts = num_experts

    def build(self, input_shape):
        def draw(expert, shape, dtype):
            return tf.ones(shape, dtype)

        self.add_expert_weight("scale", draw, depth=input_shape[-1])

    def call(self, inputs, local=None):
        return inputs * self.read("scale", local)[:, None]


def test_experts_of_ones_own_without_kernels_are_refused():
    experts = Scaled(3)
    experts.build((3, None, D))
    with pytest.raises(ValueError, match="has no kernels"):
        experts.enable_lora(RANK)
