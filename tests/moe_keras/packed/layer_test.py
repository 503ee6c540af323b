"""Layers with matrices in few bits: what they compute, save and refuse."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import ProjectedLSTM
from moe_keras.packed.rounding import (
    WeightQuantization,
    round_kernel,
    values_of_codes,
)
from moe_keras.packed.weight import PackedMatrix

D, H = 5, 6
WAYS = [
    WeightQuantization(8),
    WeightQuantization(4, 128),
    WeightQuantization(3, 4),
    WeightQuantization(2, 3, zero_points=False),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=str)


def sequences(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, 7, D)).astype("float32")


def model_of(**kwargs):
    keras.utils.set_random_seed(0)
    lstm = ProjectedLSTM(H, 3, return_sequences=True, **kwargs)
    return keras.Sequential(
        [keras.Input((None, D)), keras.layers.Bidirectional(lstm, name="both")]
    )


def lstms(model):
    both = model.get_layer("both")
    return both.forward_layer, both.backward_layer


@each_way
@pytest.mark.parametrize("shape", [(7, 5), (8, 6)])
def test_matrix_is_that_of_its_rounded_columns_or_rows(way, shape):
    rng = np.random.default_rng(1)
    values = rng.normal(size=shape).astype("float32")
    for axis, matrix in ((0, values), (1, values.T)):
        packed = PackedMatrix(
            keras.layers.Layer(), "matrix", matrix.shape, way, axis
        )
        packed.assign(matrix)
        rounded = values_of_codes(round_kernel(values, way), way)
        expected = rounded.T if axis else rounded
        np.testing.assert_allclose(packed, expected, rtol=1e-6)
    ids = tf.constant([[1, 0, 4], [4, 4, 2]])
    np.testing.assert_allclose(packed.rows(ids), expected[ids], rtol=1e-6)


def test_only_rows_that_are_rounded_apart_can_be_looked_up():
    matrix = PackedMatrix(keras.layers.Layer(), "kernel", (3, 4), WAYS[0])
    with pytest.raises(ValueError, match="kernel has columns.*`axis=1`"):
        matrix.rows([0])
    with pytest.raises(ValueError, match=r"shape \(3, 4\). Received: \(4, 3\)"):
        matrix.assign(np.ones((4, 3)))


@each_way
def test_lstm_computes_with_the_rounded_kernels_in_call_and_step(way):
    model, plain, x = model_of(), model_of(), sequences()
    for few, whole in zip(lstms(model), lstms(plain), strict=True):
        few.set_kernels(way)
        for name in ("kernel", "recurrent_kernel", "projection_kernel"):
            kernel = getattr(whole, name)
            rounded = round_kernel(kernel.numpy(), way)
            kernel.assign(values_of_codes(rounded, way))
    np.testing.assert_allclose(model(x), plain(x), rtol=1e-5, atol=1e-6)
    few, whole = lstms(model)[0], lstms(plain)[0]
    state = few.initial_state(2)
    np.testing.assert_allclose(
        few.step(x[:, 0], state)[0],
        whole.step(x[:, 0], state)[0],
        rtol=1e-5,
        atol=1e-6,
    )


def test_keras_quantize_leaves_biases_to_train():
    model, x = model_of(), sequences()
    model.quantize("int8")
    names = [weight.name for weight in model.trainable_variables]
    assert names == ["bias", "bias"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True) ** 2)
    gradients = tape.gradient(
        loss, [v.value for v in model.trainable_variables]
    )
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_block_size_of_a_config_of_keras_is_that_of_the_groups():
    model = model_of()
    config = keras.quantizers.Int4QuantizationConfig(block_size=2)
    model.quantize(config=config)
    assert lstms(model)[1].quantization == WeightQuantization(4, 2)


def test_file_knows_the_bits_and_takes_weights_of_before(tmp_path):
    plain, x = model_of(), sequences()
    plain.save_weights(tmp_path / "plain.weights.h5")
    few = model_of(quantization="int4")
    few.load_weights(tmp_path / "plain.weights.h5")
    plain.quantize("int4")
    np.testing.assert_array_equal(few(x), plain(x))
    plain.save(tmp_path / "few.keras")
    loaded = keras.saving.load_model(tmp_path / "few.keras")
    np.testing.assert_array_equal(loaded(x), plain(x))
    few.save_weights(tmp_path / "few.weights.h5")
    with pytest.raises(ValueError, match="quantize the layer as they are"):
        model_of().load_weights(tmp_path / "few.weights.h5")


def test_mixed_bfloat16():
    x = sequences()
    model = model_of(dtype="mixed_bfloat16")
    before = tf.cast(model(x), "float32")
    model.quantize("int8")
    np.testing.assert_allclose(
        tf.cast(model(x), "float32"), before, rtol=0.1, atol=0.05
    )


def test_what_cannot_be_done_is_refused_by_name():
    with pytest.raises(ValueError, match="lstm.*build the layer"):
        ProjectedLSTM(H, name="lstm").set_kernels(WAYS[0])
    model = model_of()
    with pytest.raises(ValueError, match="lstm.* a mode 'float8'"):
        model.quantize("float8")
    first, second = lstms(model)
    first.set_kernels(WAYS[0])
    with pytest.raises(ValueError, match="forward.* have few bits already"):
        first.set_kernels(WAYS[1])
    second.kernel.assign(np.full(second.kernel.shape, np.nan))
    with pytest.raises(ValueError, match="backward.*kernel.* not finite"):
        second.set_kernels(WAYS[1])
    assert second.quantization is None
