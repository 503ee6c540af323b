"""Files of a sparse model are files of keras-hub's, and the other way round."""

import keras
import numpy as np
import pytest
import small_hub
import tensorflow as tf

from moe_keras.hub import sparsify


@pytest.fixture(scope="module", params=small_hub.FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def dense(family):
    return small_hub.make(family)


@pytest.fixture(scope="module")
def sparse(family):
    return sparsify(small_hub.make(family))


def _keras(model, path, family):
    model.save(path / "model.keras")
    return keras.models.load_model(path / "model.keras")


def _preset(model, path, family):
    model.save_to_preset(str(path / "preset"))
    # `CausalLM.from_preset` would take Gemma 4's assistant for Gemma 4.
    return type(model).from_preset(str(path / "preset"), preprocessor=None)


def _weights(model, path, family):
    model.save_weights(path / "model.weights.h5")
    restored = small_hub.make(family, seed=9)
    restored.load_weights(path / "model.weights.h5")
    return restored


@pytest.mark.slow
@pytest.mark.parametrize("through", [_keras, _preset, _weights])
def test_round_trips_in_both_directions(
    family, dense, sparse, through, tmp_path
):
    inputs = small_hub.batch(family)
    from_sparse = through(sparse, tmp_path, family)
    np.testing.assert_array_equal(from_sparse(inputs), dense(inputs))
    from_dense = sparsify(through(dense, tmp_path, family))
    np.testing.assert_array_equal(from_dense(inputs), sparse(inputs))


def test_weights_are_loaded_into_a_sparse_model(
    family, dense, sparse, tmp_path
):
    inputs = small_hub.batch(family)
    dense.save_weights(tmp_path / "model.weights.h5")
    other = sparsify(small_hub.make(family, seed=9))
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(inputs), sparse(inputs))


@pytest.mark.slow
def test_an_exported_backbone_serves_the_same(family, tmp_path):
    # keras-hub's linear attention cannot be exported, sparse or not.
    sizes = {"num_layers": 1}
    if family in ("qwen3_5_moe", "gemma4"):
        sizes["layer_types"] = ["full_attention"]
    backbone = sparsify(small_hub.make(family, **sizes)).backbone
    inputs = small_hub.batch(family)
    inputs["padding_mask"] = inputs["padding_mask"].astype("int32")
    expected = backbone(inputs)
    backbone.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    np.testing.assert_allclose(served.serve(tensors), expected, atol=1e-5)
