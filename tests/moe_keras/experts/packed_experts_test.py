"""Kernels in few bits: packing, rounding, and layers that hold them."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_moe import layout_named, outputs_and_gradients, wholes

from moe_keras import (
    FeedForwardExperts,
    GatedFeedForwardExperts,
    HierarchicalGate,
    SparseMoE,
    TopKGate,
)
from moe_keras.experts import WeightQuantization
from moe_keras.packed.packing import pack, unpack
from moe_keras.packed.weight import PackedWeight
from moe_keras.parallel import MeshLayout
from moe_keras.parallel.replicas.placement import ReplicaPlacement

E, D, H = 4, 24, 16
KINDS = {"plain": FeedForwardExperts, "gated": GatedFeedForwardExperts}
WAYS = {
    "int8": WeightQuantization(8),
    "int4": WeightQuantization(4, 128),
    "int4/8": WeightQuantization(4, 8),
    "int3/8": WeightQuantization(3, 8),
    "int3/7, symmetric": WeightQuantization(3, 7, zero_points=False),
    "int2/4": WeightQuantization(2, 4),
    "int2": WeightQuantization(2),
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def tokens(number=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(number, D)).astype("float32")


def model_of(kind="gated", **kwargs):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((D,))
    layer = SparseMoE(
        E,
        gate=TopKGate(E, k=2, balance_loss_weight=0.0),
        expert=KINDS[kind](E, H, **kwargs),
        name="moe",
    )
    return keras.Model(inputs, layer(inputs))


def experts_of(model):
    return model.get_layer("moe").experts


def plain_rounding(kernel, way):
    """Weight by weight, as the module's docstring says it."""
    depth, width = kernel.shape
    size = way.group_size or depth
    most, rounded = 2**way.bits - 1, np.zeros_like(kernel)
    for start in range(0, depth, size):
        for column in range(width):
            rows = slice(start, start + size)
            values = kernel[rows, column]
            if way.zero_points:
                low, high = min(values.min(), 0), max(values.max(), 0)
                scale = (high - low) / most
                zero = round(-low / scale)
                codes = np.clip(np.round(values / scale) + zero, 0, most)
                rounded[rows, column] = scale * (codes - zero)
            else:
                half = most // 2
                scale = np.abs(values).max() / half
                codes = np.clip(np.round(values / scale), -half, half)
                rounded[rows, column] = scale * codes
    return rounded


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_packing_loses_nothing_and_takes_so_many_bits(bits):
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 2**bits, (24, 5)).astype("uint8")
    packed = pack(codes, bits)
    assert packed.shape == (24 * bits // 8, 5)
    np.testing.assert_array_equal(unpack(tf.constant(packed), bits), codes)


@each_way
def test_weights_are_rounded_in_their_group_and_column(way):
    kernels = np.random.default_rng(0).normal(size=(2, D, 3))
    kernels = kernels.astype("float32")
    weight = PackedWeight(keras.layers.Layer(), "kernel", kernels.shape, way)
    weight.assign(kernels)
    expected = [plain_rounding(kernel, way) for kernel in kernels]
    # A step may differ where a weight lies in the middle of two numbers.
    step = weight.scale.numpy().max() * 1.001
    difference = np.abs(np.asarray(weight) - expected)
    assert difference.max() < step and np.mean(difference > 1e-5) < 0.02


@pytest.mark.parametrize(
    "kind, way",
    [*(("gated", way) for way in WAYS), ("plain", "int4/8")],
)
def test_layer_computes_with_the_rounded_kernels(kind, way):
    way = WAYS[way]
    model, plain = model_of(kind), model_of(kind)
    experts_of(model).set_kernels(way)
    for name in ("kernel_in", "kernel_out"):
        rounded = np.asarray(experts_of(model).expert_weights[name])
        experts_of(plain).expert_weights[name].assign(rounded)
    x = tokens()
    np.testing.assert_allclose(model(x), plain(x), rtol=1e-5, atol=1e-5)
    batches = np.random.default_rng(1).normal(size=(E, 3, D))
    np.testing.assert_allclose(
        experts_of(model)(batches.astype("float32")),
        experts_of(plain)(batches.astype("float32")),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.parametrize("way", ["int8", "int4/8", "int3/8"])
def test_xla_computes_the_same(way):
    model, x = model_of(), tokens()
    experts_of(model).set_kernels(WAYS[way])
    compiled = tf.function(model, jit_compile=True)
    np.testing.assert_allclose(compiled(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode, share", [("int8", 0.332), ("int4", 0.224)])
def test_keras_quantize_reaches_experts_and_leaves_routers(mode, share):
    """Of 1,208 numbers of an expert 1,152 are in kernels of 56 columns.

    int8: (1152 + 4 * 56 + 4 * 56) / (4 * 1208) = 0.331 of the bytes.
    int4: (576 + 5 * 56 + 4 * 56) / (4 * 1208) = 0.2235.
    """
    model = model_of(use_bias=True)
    gate = model.get_layer("moe").gate
    x, kernel = tokens(), gate.gate_kernel.numpy()
    before, outputs = _bytes_of(experts_of(model)), model(x)
    model.quantize(mode)
    assert _bytes_of(experts_of(model)) < share * before
    np.testing.assert_array_equal(gate.gate_kernel, kernel)
    error = np.abs(model(x) - outputs).max() / np.abs(outputs).max()
    assert 0 < error < {"int8": 0.02, "int4": 0.2}[mode]
    assert [w.path.split("/")[-1] for w in model.trainable_variables] == [
        "gate_kernel",
        "bias_in",
        "bias_out",
    ]


def test_block_size_of_a_config_of_keras_is_that_of_the_groups():
    model = model_of()
    config = keras.quantizers.Int4QuantizationConfig(block_size=8)
    model.quantize(config=config)
    assert experts_of(model).quantization == WeightQuantization(4, 8)


def test_hierarchical_routers_are_left_alone_too():
    inputs = keras.Input((D,))
    gate = HierarchicalGate(2, 2, k=(1, 1))
    layer = SparseMoE(4, hidden_dim=H, gate=gate)
    model = keras.Model(inputs, layer(inputs))
    model.quantize("int8")
    assert {weight.dtype for weight in gate.trainable_variables} == {"float32"}


def test_an_expert_of_weights_1000_times_larger_costs_the_others_nothing():
    model = model_of()
    experts = experts_of(model)
    for weight in experts.expert_weights.values():
        value = weight.numpy()
        weight.assign(value * np.array([1, 1000, 1, 1])[:, None, None])
    before = {n: w.numpy() for n, w in experts.expert_weights.items()}
    experts.set_kernels(WeightQuantization(4, 8))
    for name, weight in experts.expert_weights.items():
        errors = np.abs(np.asarray(weight) - before[name]).max(axis=(1, 2))
        errors /= np.abs(before[name]).max(axis=(1, 2))
        # Half a step of 15, of which each group has at most twice its maximum.
        assert errors.max() < 0.5 * 2 / 15 + 0.01


def test_kernels_of_zeros_and_of_tiny_weights():
    weight = PackedWeight(
        keras.layers.Layer(), "kernel", (1, 8, 3), WeightQuantization(4, 4)
    )
    kernel = np.zeros((1, 8, 3), "float32")
    kernel[0, :, 1] = 1e-30
    weight.assign(kernel)
    np.testing.assert_allclose(np.asarray(weight), kernel, rtol=1e-5)


@pytest.mark.parametrize("way", ["int4", "int3/8"])
def test_file_is_loaded_in_a_fresh_process(way, tmp_path):
    model, x = model_of(use_bias=True), tokens()
    experts_of(model).set_kernels(WAYS[way])
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    script = (
        "import sys, keras, moe_keras, numpy as np; folder = sys.argv[1];"
        "model = keras.saving.load_model(folder + '/model.keras');"
        "np.save(folder + '/y.npy', model(np.load(folder + '/x.npy')));"
        "model.export(folder + '/exported', verbose=False)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model(x))
    served = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(served.serve(x), model(x), rtol=1e-5, atol=1e-5)


def test_default_experts_are_saved_with_their_bits(tmp_path):
    inputs = keras.Input((D,))
    layer = SparseMoE(E, k=2, hidden_dim=H, activation="gelu")
    model = keras.Model(inputs, layer(inputs))
    model.quantize("int8")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(tokens()), model(tokens()))
    assert loaded.layers[-1].experts.quantization == WeightQuantization(8)


def test_weights_of_before_are_rounded_while_they_are_loaded(tmp_path):
    plain = model_of(use_bias=True)
    plain.save_weights(tmp_path / "plain.weights.h5")
    few = model_of(use_bias=True, quantization="int4")
    few.load_weights(tmp_path / "plain.weights.h5")
    plain.quantize("int4")
    np.testing.assert_array_equal(few(tokens()), plain(tokens()))
    few.save_weights(tmp_path / "few.weights.h5")
    with pytest.raises(ValueError, match="quantize the layer as they are"):
        model_of(use_bias=True).load_weights(tmp_path / "few.weights.h5")


def test_inputs_biases_and_router_still_have_gradients():
    model, x = model_of(use_bias=True), tf.constant(tokens())
    experts = experts_of(model)
    experts.set_kernels(WAYS["int4/8"])
    plain = model_of(use_bias=True)
    for name in ("kernel_in", "kernel_out"):
        rounded = np.asarray(experts.expert_weights[name])
        experts_of(plain).expert_weights[name].assign(rounded)

    def gradients(model):
        gate = model.get_layer("moe").gate.gate_kernel
        bank = experts_of(model)
        sources = [x, *(v.value for v in (gate, bank.bias_in, bank.bias_out))]
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        return tape.gradient(loss, sources)

    for ours, theirs in zip(gradients(model), gradients(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
        assert np.abs(ours).max() > 0


def test_mixed_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = model_of()
    finally:
        keras.config.set_dtype_policy("float32")
    x = tokens()
    before = tf.cast(model(x), "float32")
    model.quantize("int8")
    after = tf.cast(model(x), "float32")
    np.testing.assert_allclose(after, before, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("mode", ["float8", "int2"])
def test_modes_that_cannot_reach_experts_are_refused_by_name(mode):
    model = model_of()
    with pytest.raises(ValueError, match=f"experts.*{mode}|Invalid.*{mode}"):
        model.quantize(mode)


def test_what_cannot_be_quantized_is_refused():
    model = model_of()
    experts = experts_of(model)
    experts.enable_lora(2)
    with pytest.raises(ValueError, match="call its `merge_lora"):
        model.quantize("int8")
    experts.merge_lora()
    experts.kernel_in.assign(np.full(experts.kernel_in.shape, np.nan))
    with pytest.raises(ValueError, match="not finite"):
        model.quantize("int8")
    few = model_of(quantization="int8")
    with pytest.raises(ValueError, match="few bits already"):
        few.quantize("int8")
    with pytest.raises(ValueError, match="few bits.*not supported"):
        experts_of(few).enable_lora(2)
    with pytest.raises(ValueError, match="`lora_rank` needs kernels"):
        FeedForwardExperts(E, H, lora_rank=2, quantization="int8")
    for bits in (1, 5, True, "4"):
        with pytest.raises(ValueError, match="`bits` must be one of"):
            WeightQuantization(bits)
    with pytest.raises(ValueError, match="quantization must be"):
        FeedForwardExperts(E, H, quantization="float8")


@pytest.mark.parametrize("name", ["experts", "exchange", "batch_and_experts"])
@pytest.mark.parametrize("when", ["made", "later"])
def test_layouts_split_packed_kernels_by_experts(name, when, tmp_path):
    """Quantized there, or loaded there from a file of one device."""
    few = WAYS["int3/8"]
    x = tf.constant(tokens())

    def layer_of(**kwargs):
        keras.utils.set_random_seed(1)
        layer = SparseMoE(
            8,
            gate=TopKGate(8, k=2, balance_loss_weight=0.0, name="gate"),
            expert=GatedFeedForwardExperts(
                8, H, use_bias=True, name="experts", **kwargs
            ),
            name="moe",
        )
        layer.build((None, D))
        rng = np.random.default_rng(5)
        layer.gate.gate_kernel.assign(rng.normal(size=(D, 8)))
        return layer

    whole = layer_of()
    whole.experts.set_kernels(few)
    with layout_named(name).scope():
        layer = layer_of(quantization=few if when == "made" else None)
    if when == "later":
        layer.experts.set_kernels(few)
    else:
        store = {}
        whole.experts.save_own_variables(store)
        layer.experts.load_own_variables(store)
    codes = layer.experts.expert_weights["kernel_in"].codes
    assert {part.shape[0] for part in codes.shards} < {1, 2, 4}
    np.testing.assert_array_equal(
        codes.numpy(), whole.experts.expert_weights["kernel_in"].codes
    )
    results = []
    for each in (whole, layer):
        outputs, d_inputs, gradients = outputs_and_gradients(each, x)
        results.append((outputs, d_inputs, wholes(each, gradients)))
    (expected, d_expected, d_whole), (outputs, d_inputs, d_layer) = results
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(outputs, expected, **close)
    np.testing.assert_allclose(d_inputs, d_expected, **close)
    assert d_layer.keys() == d_whole.keys() and len(d_whole) == 3
    for path, gradient in d_whole.items():
        np.testing.assert_allclose(d_layer[path], gradient, **close)


def test_replicas_share_out_packed_kernels(two_replicas):
    x = tokens(8)

    def layer_of():
        keras.utils.set_random_seed(1)
        layer = SparseMoE(
            4,
            gate=TopKGate(4, k=2, balance_loss_weight=0.0),
            expert=FeedForwardExperts(4, H),
        )
        layer.build((None, D))
        layer.experts.set_kernels(WAYS["int4/8"])
        return layer

    whole = layer_of()
    with two_replicas.scope(), ReplicaPlacement(two_replicas).scope():
        layer = layer_of()
    layer.gate.gate_kernel.assign(whole.gate.gate_kernel)
    run = tf.function(lambda: two_replicas.run(layer, [tf.constant(x)]))
    for part in two_replicas.experimental_local_results(run()):
        np.testing.assert_allclose(part, whole(x), rtol=1e-4, atol=1e-4)
    codes = layer.experts.expert_weights["kernel_in"].codes
    assert [part.shape[0] for part in codes.shards] == [2, 2]


def test_layouts_that_split_the_hidden_size_refuse_them():
    layout = MeshLayout("all:2", "hidden:all")
    experts = FeedForwardExperts(E, H, quantization="int8")
    with (
        layout.scope(),
        pytest.raises(ValueError, match="not split over their"),
    ):
        experts.build((E, None, D))
    experts = FeedForwardExperts(E, H)
    with layout.scope():
        experts.build((E, None, D))
    with pytest.raises(ValueError, match="not split over their hidden"):
        experts.quantize("int8")
    assert experts.quantization is None


def _bytes_of(layer):
    return sum(
        np.prod(weight.shape) * tf.as_dtype(weight.dtype).size
        for weight in layer.weights
    )
