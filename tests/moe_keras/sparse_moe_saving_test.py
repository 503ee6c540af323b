"""SparseMoE copied, saved and loaded in the ways that Keras layers are."""

import copy
import gc
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from moe_keras import (
    FeedForwardExperts,
    GatedFeedForwardExperts,
    HierarchicalGate,
    SparseMoE,
    TopKGate,
)
from moe_keras.monitoring import uncounted

D = 5
X = np.random.default_rng(0).normal(size=(6, D)).astype("float32")


def model_of(*layers):
    inputs = outputs = keras.Input((D,))
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


UNBUILT = {
    "default": lambda: SparseMoE(4, k=2, hidden_dim=8),
    "list": lambda: SparseMoE(3, k=2, expert=lambda: keras.layers.Dense(D)),
    "mixtral": lambda: SparseMoE(
        4, gate=TopKGate(4, k=2), expert=GatedFeedForwardExperts(4, 8)
    ),
    "hierarchical": lambda: SparseMoE(
        4, gate=HierarchicalGate(2, 2), hidden_dim=8
    ),
    "experts": lambda: FeedForwardExperts(4, 8),
}


@pytest.mark.parametrize("make", UNBUILT.values(), ids=UNBUILT)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))]
)
def test_layer_that_is_not_built_is_copied(make, copied):
    layer = make()
    assert copied(layer).get_config() == layer.get_config()


@pytest.mark.parametrize("make", UNBUILT.values(), ids=UNBUILT)
def test_model_that_is_not_built_is_saved(make, tmp_path):
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([make()]).save(tmp_path / "unbuilt.keras")
    keras.models.load_model(tmp_path / "unbuilt.keras")


def test_built_layer_is_copied_with_its_weights():
    model = model_of(SparseMoE(4, k=2, hidden_dim=8))
    np.testing.assert_array_equal(copy.deepcopy(model)(X), model(X))


def test_weights_for_a_layer_that_is_not_built_are_refused():
    store = {}
    experts = FeedForwardExperts(4, 8)
    experts.build((4, None, D))
    experts.save_own_variables(store)
    with pytest.raises(ValueError, match="Build the layer before loading"):
        FeedForwardExperts(4, 8).load_own_variables(store)


class Module(tf.Module):
    """A user's own module, with functions for inference and for training."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec((None, D))])
    def infer(self, x):
        return self.model(x)

    @tf.function(input_signature=[tf.TensorSpec((None, D))])
    def train(self, x):
        y = self.model(x, training=True)
        return y, tf.add_n(self.model.losses)


def loaded(saved, folder, **kwargs):
    tf.saved_model.save(saved, str(folder), **kwargs)
    return tf.saved_model.load(str(folder))


def test_saved_model_without_keras_export(tmp_path):
    model = model_of(SparseMoE(4, k=2, hidden_dim=8, seed=1))
    served = loaded(model, tmp_path / "plain")
    (y,) = served.signatures["serving_default"](tf.constant(X)).values()
    np.testing.assert_allclose(y, model(X), rtol=1e-6, atol=1e-6)

    @tf.function(input_signature=[tf.TensorSpec((None, D), name="x")])
    def own(x):
        return {"doubled": 2 * model(x)}

    served = loaded(model, tmp_path / "own", signatures={"own": own})
    y = served.signatures["own"](x=tf.constant(X))["doubled"]
    np.testing.assert_allclose(y, 2 * model(X), rtol=1e-6, atol=1e-6)


def test_saved_module_infers_and_trains(tmp_path):
    experts = FeedForwardExperts(4, 8, dropout=0.5, seed=2)
    model = model_of(SparseMoE(4, k=2, expert=experts, seed=1))
    # The gradient of experts on segments keeps a list, which no SavedModel
    # holds: it is saved without gradients.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    served = loaded(Module(model), tmp_path / "module", options=options)
    np.testing.assert_allclose(served.infer(X), model(X), rtol=1e-6, atol=1e-6)
    y, loss = served.train(X)
    assert y.shape == X.shape and float(loss) > 0


def test_uncounted_graph_can_be_frozen():
    model = model_of(SparseMoE(4, k=2, hidden_dim=8))
    with uncounted(model):
        graph = tf.function(model).get_concrete_function(
            tf.TensorSpec((None, D))
        )
    frozen = convert_to_constants.convert_variables_to_constants_v2(graph)
    (y,) = frozen(tf.constant(X))
    np.testing.assert_allclose(y, model(X), rtol=1e-6, atol=1e-6)


def test_capacity_and_a_known_batch_convert_to_tflite():
    inputs = keras.Input((D,), batch_size=6)
    layer = SparseMoE(4, k=2, hidden_dim=8, capacity_factor=2.0)
    model = keras.Model(inputs, layer(inputs))
    with uncounted(model):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converted = converter.convert()
    interpreter = tf.lite.Interpreter(model_content=converted)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(y, model(X), rtol=1e-5, atol=1e-6)


def shared_experts():
    """A multi-gate mixture of experts: two gates, one set of experts."""
    experts, inputs = FeedForwardExperts(4, 8), keras.Input((D,))
    model = keras.Model(
        inputs,
        [
            SparseMoE(4, gate=TopKGate(4), expert=experts)(inputs)
            for _ in range(2)
        ],
    )
    model.compile("adam", ["mse", "mse"])
    model.fit(X, [X, X], verbose=0)
    return model


def test_experts_of_two_layers_are_still_one_when_loaded(tmp_path):
    model = shared_experts()
    assert len(model.weights) == 2 + 4
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[1].experts is again.layers[2].experts
    for ours, theirs in zip(again(X), model(X), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again.fit(X, [X, X], verbose=0)
    assert again.optimizer.iterations == 2


def test_gate_of_another_layer_is_refused_until_that_is_gone():
    gate = TopKGate(4, k=2)
    layer = SparseMoE(4, gate=gate, hidden_dim=8)
    with pytest.raises(ValueError, match="belongs to the layer .* already"):
        SparseMoE(4, gate=gate, hidden_dim=8)
    SparseMoE(4, gate=TopKGate.from_config(gate.get_config()), hidden_dim=8)
    del layer
    gc.collect()
    SparseMoE(4, gate=gate, hidden_dim=8)


def test_names_of_weights_stay():
    """Files and checkpoints hold weights by these names and places."""
    model = model_of(
        SparseMoE(4, k=2, hidden_dim=8, name="a"),
        SparseMoE(2, k=1, expert=lambda: keras.layers.Dense(D), name="b"),
    )
    kinds = [w.path.removeprefix("a/") for w in model.layers[1].weights]
    assert kinds == [
        "gate/gate_kernel",
        "gate/noise_kernel",
        "experts/kernel_in",
        "experts/bias_in",
        "experts/kernel_out",
        "experts/bias_out",
    ]
    kinds = [w.path.split("/")[-1] for w in model.layers[2].weights]
    assert kinds == ["gate_kernel", "noise_kernel"] + 2 * ["kernel", "bias"]
    # A checkpoint of training holds other variables by their places: the states
    # of the noise of two gates, and of the dropout of one layer of experts.
    weights = {id(weight) for weight in model.weights}
    states = [v.path for v in model.variables if id(v) not in weights]
    assert len(states) == 3
    assert all("seed_generator" in path for path in states)
    # And `.keras` files the variables of the metric.
    assert [v.shape for v in model.layers[1].monitor.variables] == [(10,)]
