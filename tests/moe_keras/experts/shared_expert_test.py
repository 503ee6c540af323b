"""Experts that every token visits, and a gate with inputs of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_moe import layout_named

from moe_keras import FeedForwardExperts, SparseMoE, TopKGate
from moe_keras.placement.split_weight import SplitWeight

E, D, H, N = 4, 5, 3, 7


def tokens(depth=D, seed=0):
    return np.random.default_rng(seed).normal(size=(N, depth))


def layer_of(shared=None, dtype="float64", **kwargs):
    return SparseMoE(
        E,
        gate=TopKGate(E, k=2, dtype=dtype),
        expert=FeedForwardExperts(E, H, dtype=dtype),
        shared_expert=shared,
        dtype=dtype,
        **kwargs,
    )


def without_shared(layer, x):
    """What the chosen experts alone make of x."""
    plain = layer_of()
    plain(x)
    for ours, theirs in (
        (plain.gate, layer.gate),
        (plain.experts, layer.experts),
    ):
        for weight, other in zip(ours.weights, theirs.weights, strict=True):
            weight.assign(other)
    return np.asarray(plain(x))


@pytest.mark.parametrize("gate", [None, "sigmoid"])
def test_output_of_a_keras_layer_is_added(gate):
    dense = keras.layers.Dense(D, activation="tanh", dtype="float64")
    layer, x = layer_of(dense, shared_gate=gate), tokens()
    outputs = layer(x)
    expected = np.tanh(x @ dense.kernel.numpy() + dense.bias.numpy())
    if gate:
        logits = x @ layer.shared.gate_kernel.numpy()
        expected = expected / (1 + np.exp(-logits))
    expected += without_shared(layer, x)
    np.testing.assert_allclose(outputs, expected, atol=1e-12)


def test_each_expert_of_a_stack_gets_all_tokens():
    shared = FeedForwardExperts(2, 6, dtype="float64")
    layer, x = layer_of(shared), tokens()
    outputs = layer(x)
    into, out = shared.kernel_in.numpy(), shared.kernel_out.numpy()
    expected = sum(np.maximum(x @ into[e], 0) @ out[e] for e in range(2))
    expected += without_shared(layer, x)
    np.testing.assert_allclose(outputs, expected, atol=1e-12)


def test_padding_gives_zeros_and_no_gradient():
    layer = layer_of(keras.layers.Dense(D), "float32", shared_gate="sigmoid")
    x = tokens().astype("float32")
    x[5:] = np.nan
    mask = np.arange(N) < 5
    with tf.GradientTape() as tape:
        outputs = layer(x, mask=mask)
        loss = tf.reduce_sum(outputs**2)
    assert np.all(outputs[5:] == 0) and np.isfinite(outputs).all()
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["experts", "exchange_and_hidden"])
def test_it_is_whole_under_a_layout(name):
    def made():
        keras.utils.set_random_seed(1)
        layer = SparseMoE(
            8,
            gate=TopKGate(8, k=2),
            expert=FeedForwardExperts(8, 6),
            shared_expert=FeedForwardExperts(1, 6),
            shared_gate="sigmoid",
        )
        return layer, layer(tokens().astype("float32"))

    _, expected = made()
    with layout_named(name).scope():
        layer, outputs = made()
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    shared = layer.shared_expert.expert_weights.values()
    assert not any(isinstance(weight, SplitWeight) for weight in shared)
    assert isinstance(layer.experts.kernel_in, SplitWeight)


def test_xla_compiles_it():
    layer = layer_of(FeedForwardExperts(1, 4), "float32", shared_gate="sigmoid")
    x = tokens().astype("float32")
    assert layer.supports_jit
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled(x), layer(x), rtol=1e-5, atol=1e-6)


def test_a_layer_that_xla_cannot_compile_is_asked():
    dense = keras.layers.Dense(D)
    dense.supports_jit = False
    assert not layer_of(dense).supports_jit


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"shared_expert": "dense"}, "`shared_expert` must be a Keras layer"),
        ({"shared_gate": "sigmoid"}, "`shared_gate` is the gate of"),
        (
            {"shared_expert": keras.layers.Dense(D), "shared_gate": "softmax"},
            "`shared_gate` must be 'sigmoid'.*'softmax'",
        ),
    ],
)
def test_what_is_no_shared_expert_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        SparseMoE(E, hidden_dim=H, **arguments)


def test_another_depth_than_that_of_the_experts_is_refused():
    layer = layer_of(keras.layers.Dense(D + 1), "float32")
    with pytest.raises(ValueError, match="must return the depth.*6 and 5"):
        layer.build((None, D))


def test_config_from_before_shared_experts_still_loads():
    config = layer_of().get_config()
    assert config.pop("shared_expert") is config.pop("shared_gate") is None
    assert SparseMoE.from_config(config).shared_expert is None


def test_file_has_weights_of_shared_expert_and_its_gate(tmp_path):
    inputs = keras.Input((D,))
    dense = keras.layers.Dense(D)
    outputs = layer_of(dense, "float32", shared_gate="sigmoid")(inputs)
    model = keras.Model(inputs, outputs)
    x = tokens().astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


class TestGateInputs:
    def test_the_gate_sees_them_and_the_experts_do_not(self):
        layer, x, seen = layer_of(), tokens(), tokens(3, seed=1)
        outputs = layer(x, gate_inputs=seen)
        assert layer.gate.gate_kernel.shape == (3, E)
        logits = seen @ layer.gate.gate_kernel.numpy()
        into = layer.experts.kernel_in.numpy()
        out = layer.experts.kernel_out.numpy()
        for row, logit, output in zip(x, logits, outputs, strict=True):
            best = np.argsort(-logit)[:2]
            weights = np.exp(logit[best]) / np.exp(logit[best]).sum()
            expected = sum(
                weight * np.maximum(row @ into[e], 0) @ out[e]
                for weight, e in zip(weights, best, strict=True)
            )
            np.testing.assert_allclose(output, expected, atol=1e-12)

    def test_they_have_a_gradient(self):
        layer, seen = layer_of(), tf.constant(tokens(seed=1))
        with tf.GradientTape() as tape:
            tape.watch(seen)
            loss = tf.reduce_sum(layer(tokens(), gate_inputs=seen) ** 2)
        assert np.abs(tape.gradient(loss, seen)).max() > 0

    def test_a_model_with_two_inputs_is_saved_and_loaded(self, tmp_path):
        inputs = [keras.Input((None, D)), keras.Input((None, 3))]
        layer = layer_of(dtype="float32")
        model = keras.Model(inputs, layer(inputs[0], gate_inputs=inputs[1]))
        x = [tokens()[None], tokens(3, seed=1)[None]]
        model.compile("sgd", "mse")
        model.fit(x, x[0], verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(x), model(x))

    def test_padding_is_known_of_the_inputs(self):
        ids = keras.Input((None,), dtype="int32")
        embedded = keras.layers.Embedding(9, D, mask_zero=True)(ids)
        layer = layer_of(dtype="float32")
        model = keras.Model(ids, layer(embedded, gate_inputs=2 * embedded))
        outputs = np.asarray(model(np.array([[3, 4, 0]])))
        assert np.all(outputs[0, 2] == 0) and np.any(outputs[0, 1] != 0)
        assert layer.routing_statistics().tokens == 2

    def test_shapes_that_do_not_fit_are_refused(self):
        layer = layer_of()
        with pytest.raises(ValueError, match="`gate_inputs` must have the"):
            layer(tokens(), gate_inputs=tokens()[:3])
