"""The translator in few bits: bytes, outputs, files and steps."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras.packed.rounding import WeightQuantization
from moe_keras.quantization import quantize, sizes_of
from translation.model.config import TranslatorConfig
from translation.model.translator import Translator
from translation.serving.quantized import QuantizedWeights

CONFIG = TranslatorConfig(
    vocab_size=61,
    depth=32,
    lstm_units=48,
    num_experts=3,
    expert_hidden_dim=40,
    attention_units=24,
    attention="additive",
    readout=True,
)
SOURCE = np.array([[4, 5, 6, 2], [7, 8, 2, 0]], "int32")
TARGET = np.array([[1, 4, 5, 6, 9], [1, 7, 8, 0, 0]], "int32")
INPUTS = {"source": SOURCE, "target_in": TARGET}


@pytest.fixture(scope="module")
def weights():
    return translator().get_weights()


def translator(weights=None):
    keras.utils.set_random_seed(0)
    model = Translator(CONFIG)
    model.build()
    if weights is not None:
        model.set_weights(weights)
    return model


def names_of_matrices(model):
    return {
        "/".join(weight.path.split("/")[-2:])
        for weight in model.trainable_variables
        if len(weight.shape) > 1
    }


def relative_error(outputs, expected):
    return np.abs(outputs - expected).max() / np.abs(expected).max()


def test_all_matrices_but_routers_are_reached_and_steps_agree(weights):
    """Bytes: 1 of 4, and 4 more for each column of 32 to 80 rows."""
    model = translator(weights)
    before, size = model(INPUTS), sizes_of(model).total
    model.quantize("int8")
    after = model(INPUTS)
    assert names_of_matrices(model) == {
        "gate/gate_kernel",
        "gate/noise_kernel",
        "experts/bias_in",
        "experts/bias_out",
    }
    assert sizes_of(model).total < 0.30 * size
    assert 0 < relative_error(after, before) < 0.02
    memory, state = model.encode(tf.constant(SOURCE))
    logits, _ = model.step(tf.constant(TARGET[:, 0]), state, memory)
    np.testing.assert_allclose(logits, after[:, 0], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="few bits in"):
        QuantizedWeights([model])
    with pytest.raises(ValueError, match="few bits already"):
        model.quantize("int8")


def test_filters_choose_layers_within_others_too(weights):
    model = translator(weights)
    model.quantize("int8", filters="embedding|decoder_lstm_1")
    few = {
        layer.name
        for layer in model._flatten_layers()
        if getattr(layer, "quantization", None) is not None
    }
    assert few == {
        "target_embedding",
        "source_embedding",
        "decoder_lstm_1",
    } & {layer.name for layer in model._flatten_layers()}
    with pytest.raises(ValueError, match="a mode 'float8'"):
        model.quantize("float8", filters="experts|softmax")


def test_experts_and_the_rest_in_bits_of_their_own(weights):
    model = translator(weights)
    quantize(
        model,
        WeightQuantization(3, 16),
        others=WeightQuantization(4, 16),
        keep=["key_map", "readout"],
    )
    assert model.decoder.attentive.quantization.bits == 4
    assert model.decoder.attentive.attention.query_kernel.parts.keys() == {
        "codes",
        "scale",
        "zero",
    }
    assert names_of_matrices(model) > {"key_map/kernel", "readout/kernel"}
    other = translator(weights)
    with pytest.raises(ValueError, match=r"Not reached: .*key_map \(Dense\)"):
        quantize(other, "int4", others=WeightQuantization(4, 16))
    assert other.target_embedding.quantization is None


@pytest.mark.slow
def test_file_is_loaded_in_a_fresh_process_and_exported(weights, tmp_path):
    model = translator(weights)
    model.quantize("int4")
    model.save(tmp_path / "few.keras")
    np.savez(tmp_path / "inputs.npz", **INPUTS)
    script = (
        "import sys, keras, numpy as np, tensorflow as tf;"
        "import translation.model.translator; folder = sys.argv[1];"
        "model = keras.saving.load_model(folder + '/few.keras');"
        "inputs = dict(np.load(folder + '/inputs.npz'));"
        "np.save(folder + '/logits.npy', model(inputs));"
        "archive = keras.export.ExportArchive(); archive.track(model);"
        "spec = tf.TensorSpec((None, None), tf.int32);"
        "archive.add_endpoint('serve', lambda inputs: model(inputs),"
        " [{'source': spec, 'target_in': spec}]);"
        "archive.write_out(folder + '/exported', verbose=False)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    expected = model(INPUTS)
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), expected)
    served = tf.saved_model.load(tmp_path / "exported")
    outputs = served.serve({k: tf.constant(v) for k, v in INPUTS.items()})
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)
    variables = tf.train.load_checkpoint(
        tmp_path / "exported/variables/variables"
    )
    size = sum(
        np.asarray(variables.get_tensor(name)).nbytes
        for name, shape in variables.get_variable_to_shape_map().items()
        if len(shape) > 0
    )
    # Keras writes each weight twice, as of the archive and as of the model.
    held = sum(np.array(weight).nbytes for weight in model.weights)
    assert size < 2 * held + 1
    assert held < 0.25 * 4 * sum(map(np.size, weights))
