"""Layouts do not affect results: each against the same layer on one device.

Tolerance, unless said otherwise: 1e-5 of a value and 1e-6 beside it, which is
what another order of summing costs in float32. The devices are parts of one
processor.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_moe import (
    DEPTH,
    LAYOUTS,
    layout_named,
    outputs_and_gradients,
    small_moe,
    tokens,
    wholes,
)

import moe_keras
from moe_keras.experts import ClampedGLU, ExpertList
from moe_keras.parallel import MeshLayout

BATCH = 13  # leaves a remainder with 2, 3 and 4 devices
MASK = np.arange(BATCH) % 5 != 3


def assert_same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def check_layout(layout, x, mask=None, **kwargs):
    """Fails unless outputs and all gradients are those of one device."""
    plain = small_moe(**kwargs)
    split = small_moe(layout, **kwargs)
    expected, d_expected, d_plain = outputs_and_gradients(plain, x, mask)
    outputs, d_inputs, d_split = outputs_and_gradients(split, x, mask)
    assert_same(outputs, expected)
    assert_same(d_inputs, d_expected)
    d_split, d_plain = wholes(split, d_split), wholes(plain, d_plain)
    assert d_split.keys() == d_plain.keys()
    for path, gradient in d_plain.items():
        assert_same(d_split[path], gradient)
        nothing = len(x) == 0 or (mask is not None and not mask.any())
        assert nothing or np.abs(gradient).max() > 0, path
    return split


@pytest.mark.parametrize("name", LAYOUTS)
def test_results_are_those_of_one_device(name):
    check_layout(layout_named(name), tokens(BATCH), MASK)


PARTS = {
    "hierarchical gate": lambda: {
        "gate": moe_keras.HierarchicalGate(2, 4, k=(2, 1), seed=1, name="gate"),
        "k": None,
        "seed": None,
    },
    "as many experts as a token needs": lambda: {
        "gate": moe_keras.ThresholdGate(8, k_max=3, name="gate"),
        "k": None,
        "seed": None,
    },
    "gated experts": lambda: {
        "expert": moe_keras.GatedFeedForwardExperts(8, 6, name="experts"),
        "hidden_dim": None,
    },
    "gated experts of GPT-OSS, router with a bias": lambda: {
        "gate": moe_keras.TopKGate(8, k=2, use_bias=True, name="gate"),
        "k": None,
        "seed": None,
        "expert": moe_keras.GatedFeedForwardExperts(
            8, 6, use_bias=True, glu=ClampedGLU(), name="experts"
        ),
        "hidden_dim": None,
    },
    "no bias, recomputed": lambda: {
        "expert": moe_keras.FeedForwardExperts(
            8,
            6,
            use_bias=False,
            recompute=True,
            output_dim=3,
            name="experts",
        ),
        "hidden_dim": None,
    },
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize(
    "name",
    [
        "exchange_and_hidden",
        pytest.param("experts_and_hidden", marks=pytest.mark.slow),
    ],
)
def test_gates_and_experts_of_other_kinds(name, parts):
    check_layout(layout_named(name), tokens(9), make_parts=parts)


# Of 13 tokens' 26 choices each expert takes ceil(0.75 * 26 / 8) = 3 at most.
KINDS = {
    "hierarchical gate": {"make_parts": PARTS["hierarchical gate"]},
    "capacity": {"capacity_factor": 0.75},
    "hierarchical gate, capacity": {
        "make_parts": PARTS["hierarchical gate"],
        "capacity_factor": 0.75,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_with_all_kinds_of_routing(name, kind):
    split = check_layout(layout_named(name), tokens(BATCH), MASK, **KINDS[kind])
    overflow = split.routing_statistics().overflow
    assert (overflow > 0) == ("capacity" in kind)
    check_layout(layout_named(name), tokens(1), **KINDS[kind])


@pytest.mark.parametrize("name", ["exchange", "experts"])
def test_experts_that_are_keras_layers(name):
    def parts():
        experts = [
            keras.layers.Dense(4, activation="tanh", name=name)
            for name in "abcdefgh"
        ]
        return {"expert": ExpertList(experts, name="all"), "hidden_dim": None}

    split = check_layout(layout_named(name), tokens(40), make_parts=parts)
    devices = [e.kernel.value.device[-1] for e in split.experts.experts]
    assert devices == list("00112233")


@pytest.mark.parametrize("name", ["exchange", "experts_and_hidden"])
def test_the_same_choices_are_dropped(name):
    # 8 tokens, k = 2, 8 experts: 2 slots each, where some would have 4.
    split = check_layout(layout_named(name), tokens(8), capacity_factor=1.0)
    assert split.routing_statistics().overflow > 0


@pytest.mark.parametrize("name", ["exchange", "experts"])
@pytest.mark.parametrize("number", [3, 1, 0])
def test_fewer_tokens_than_devices(number, name):
    check_layout(layout_named(name), tokens(number))


@pytest.mark.parametrize("name", ["exchange", "batch_and_experts"])
def test_all_tokens_are_padding(name):
    check_layout(layout_named(name), tokens(3), np.zeros(3, bool))


@pytest.mark.parametrize("name", ["experts", "batch_and_experts"])
def test_tokens_with_several_experts_on_a_device(name):
    check_layout(layout_named(name), tokens(BATCH), MASK, k=5)


@pytest.mark.parametrize(
    "name",
    ["exchange_and_hidden", pytest.param("batch", marks=pytest.mark.slow)],
)
def test_graph_of_an_unknown_batch(name):
    split = small_moe(layout_named(name))
    plain = small_moe()
    run = tf.function(
        lambda x: outputs_and_gradients(split, x),
        input_signature=[tf.TensorSpec((None, DEPTH))],
        autograph=False,
    )
    for number in (BATCH, 3):
        outputs, _, gradients = run(tokens(number))
        expected, _, d_plain = outputs_and_gradients(plain, tokens(number))
        assert_same(outputs, expected)
        for path, gradient in wholes(plain, d_plain).items():
            assert_same(wholes(split, gradients)[path], gradient)


def test_gradients_are_computed_where_the_weights_are():
    split = small_moe(layout_named("exchange_and_hidden"))
    *_, gradients = outputs_and_gradients(split, tokens(BATCH))
    devices = set()
    pairs = zip(split.trainable_variables, gradients, strict=True)
    for variable, gradient in pairs:
        if "experts" in variable.path:
            assert gradient.device == variable.value.device
            devices.add(gradient.device[-5:])
    assert devices == {f"CPU:{i}" for i in range(4)}


def losses_of_training(layer, batches, signature):
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(layer.trainable_variables)

    @tf.function(autograph=False, input_signature=signature)
    def step(x, mask=None):
        with tf.GradientTape() as tape:
            error = layer(x, mask=mask, training=True) - tf.reverse(x, [1])
            loss = tf.reduce_mean(error**2) + tf.add_n(layer.losses)
        variables = layer.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return [float(step(*batch)) for batch in batches]


def check_training(layout, batches, signature=None, **kwargs):
    """Adam divides by small numbers: to 1e-4 of the loss, 1e-3 of weights."""
    layers = small_moe(**kwargs), small_moe(layout, **kwargs)
    plain, split = (
        losses_of_training(layer, batches, signature) for layer in layers
    )
    np.testing.assert_allclose(split, plain, rtol=1e-4)
    assert plain[-1] < 0.9 * plain[0]
    for path, weight in wholes(layers[0]).items():
        np.testing.assert_allclose(
            wholes(layers[1])[path], weight, rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[pytest.mark.slow] if name != "exchange_and_hidden" else [],
        )
        for name in LAYOUTS
    ],
)
def test_twenty_steps_of_training(name):
    check_training(layout_named(name), 20 * [(tokens(BATCH),)])


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_twenty_steps_of_two_gates_full_experts_and_uneven_batches(name):
    """Of 13, 13, 3, 1 and 13 tokens, some of them padding, and so on."""
    check_training(
        layout_named(name),
        4 * [(tokens(n), MASK[:n]) for n in (BATCH, BATCH, 3, 1, BATCH)],
        [tf.TensorSpec((None, DEPTH)), tf.TensorSpec((None,), tf.bool)],
        **KINDS["hierarchical gate, capacity"],
    )


@pytest.mark.parametrize("name", ["experts_and_hidden", "exchange"])
def test_initial_weights_are_those_of_one_device(name):
    plain, split = small_moe(), small_moe(layout_named(name))
    for path, weight in wholes(plain).items():
        np.testing.assert_array_equal(wholes(split)[path], weight)


def test_no_device_ever_has_more_than_its_part_and_one_expert():
    drawn = []

    class Recording(keras.initializers.RandomNormal):
        def __call__(self, shape, dtype=None):
            drawn.append((tuple(shape), tf.constant(0.0).device))
            return super().__call__(shape, dtype)

    with layout_named("experts").scope():
        experts = moe_keras.FeedForwardExperts(
            8, 6, kernel_initializer=Recording()
        )
        experts.build((8, None, DEPTH))
    # Two kernels of 8 experts, each drawn once, on the device of its shard.
    assert {shape for shape, _ in drawn} == {(DEPTH, 6), (6, DEPTH)}
    assert len(drawn) == 16 and len({device for _, device in drawn}) == 4
    assert [w.shape for w in experts.kernel_in.shards] == [(2, DEPTH, 6)] * 4
    places = [w.value.device[-5:] for w in experts.kernel_in.shards]
    assert places == ["CPU:0", "CPU:1", "CPU:2", "CPU:3"]


def test_dropout_differs_between_devices():
    # One expert for two batches of the same 32 tokens: the same on one device.
    layout = MeshLayout("data:2", "batch:data")
    with layout.scope():
        layer = moe_keras.SparseMoE(
            1, k=1, expert=moe_keras.FeedForwardExperts(1, 8, dropout=0.5)
        )
        x = tf.concat([tokens(32)] * 2, 0)
        first, second = np.split(layer(x, training=True), 2)
    assert (first != second).mean() > 0.5
    first, second = np.split(layer(x), 2)
    np.testing.assert_allclose(first, second)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[pytest.mark.slow] if name != "experts_and_hidden" else [],
        )
        for name in LAYOUTS
    ],
)
def test_mixed_precision(name, bfloat16):
    """bfloat16 has 8 bits: sums in another order differ by some 1 %.

    Gradients by 3 % at most of the largest number of their weight.
    """
    plain, split = small_moe(), small_moe(layout_named(name))
    results = [
        outputs_and_gradients(layer, tokens(BATCH), MASK)
        for layer in (split, plain)
    ]
    (outputs, d_inputs, d_split), (expected, d_expected, d_plain) = results
    assert outputs.dtype == tf.bfloat16
    difference = tf.cast(outputs - expected, tf.float32)
    assert float(tf.reduce_max(tf.abs(difference))) < 0.05
    ours = {"inputs": d_inputs.numpy(), **wholes(split, d_split)}
    theirs = {"inputs": d_expected.numpy(), **wholes(plain, d_plain)}
    for path, gradient in theirs.items():
        most = 0.03 * np.abs(gradient).max()
        np.testing.assert_allclose(ours[path], gradient, rtol=0, atol=most)


def test_keras_files_hold_whole_weights(tmp_path):
    def model(layout):
        inputs = keras.Input((DEPTH,))
        if layout is None:
            return keras.Model(inputs, small_moe()(inputs))
        with layout.scope():
            return keras.Model(inputs, small_moe(layout)(inputs))

    plain, split = model(None), model(layout_named("experts_and_hidden"))
    for weight in plain.layers[-1].experts.weights:
        weight.assign(weight + 1.0)
    x = tokens(4)
    plain.save_weights(tmp_path / "plain.weights.h5")
    split.load_weights(tmp_path / "plain.weights.h5")
    assert_same(split(x), plain(x))
    split.save_weights(tmp_path / "split.weights.h5")
    fresh = model(None)
    fresh.load_weights(tmp_path / "split.weights.h5")
    np.testing.assert_array_equal(fresh(x), plain(x))


def test_experts_called_by_themselves_are_whole():
    plain, split = small_moe(), small_moe(layout_named("experts_and_hidden"))
    batches = tf.reshape(tokens(24), (8, 3, DEPTH))
    assert_same(split.experts(batches), plain.experts(batches))
