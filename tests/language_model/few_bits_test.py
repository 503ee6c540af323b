"""The language model in few bits: bytes, outputs and files."""

import keras
import numpy as np
import pytest

from language_model.config import LanguageModelConfig
from language_model.model import LanguageModel
from moe_keras.quantization import sizes_of

IDS = np.array([[1, 5, 7, 2], [3, 4, 0, 0]], "int32")


def model_of(**fields):
    keras.utils.set_random_seed(0)
    sizes = {"vocab_size": 200, "depth": 64, "lstm_units": 96}
    config = LanguageModelConfig(
        **sizes, num_experts=4, expert_hidden_dim=64, **fields
    )
    model = LanguageModel(config)
    model.build()
    return model


@pytest.mark.parametrize("mode, share", [("int8", 0.28), ("int4", 0.17)])
def test_the_whole_model_is_a_fraction_of_its_bytes(mode, share):
    """int8: 1/4, and 4 bytes for each of 64 or 96 rows, 0.5 / 64 to 1 / 64."""
    model = model_of(share_softmax=mode == "int4")
    before, size = np.asarray(model(IDS)), sizes_of(model).total
    model.quantize(mode)
    after = np.asarray(model(IDS))
    assert sizes_of(model).total < share * size
    error = np.abs(after - before).max() / np.abs(before).max()
    assert 0 < error < {"int8": 0.03, "int4": 0.3}[mode]


def test_steps_likelihoods_and_file(tmp_path):
    model = model_of(layers=("lstm", "moe"), expert_hidden_layers=2)
    model.quantize("int8")
    logits = model(IDS)
    step, _ = model.step(IDS[:, 0], model.initial_state(2))
    np.testing.assert_allclose(step, logits[:, 0], rtol=1e-4, atol=1e-4)
    outputs, _ = model.features(IDS)
    nll = model.nll(outputs[:, 0], IDS[:, 1])
    row = np.asarray(logits[:, 0], "float64")
    expected = np.log(np.exp(row).sum(-1)) - row[[0, 1], IDS[:, 1]]
    np.testing.assert_allclose(nll, expected, rtol=1e-4)
    model.save(tmp_path / "few.keras")
    loaded = keras.saving.load_model(tmp_path / "few.keras")
    np.testing.assert_array_equal(loaded(IDS), logits)
    assert loaded.softmax.quantization.bits == 8
