"""What every public layer promises, checked for each of `layer_cases.py`."""

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_cases import CONFIG_CASES, LAYER_CASES

import moe_keras
from moe_keras.experts import ClampedGLU, WeightQuantization
from translation.text.input_pipeline import untuned


def _each(cases=LAYER_CASES, slow=lambda case: False):
    """Runs a test for every case; those that `slow` tells are marked so."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(
                case, id=case.name, marks=[pytest.mark.slow] * slow(case)
            )
            for case in cases
        ],
    )


all_layers = _each()
all_configs = _each([*LAYER_CASES, *CONFIG_CASES])
# For what takes seconds: of layers composed of others, those alone.
single_layers = _each(slow=lambda case: case.composed)


def inputs_for(case, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=case.shape).astype("float32")


def model_of(case):
    """A functional model that knows no more of its input than it must."""
    keras.utils.set_random_seed(0)
    shape = [
        None if axis in case.unknown else size
        for axis, size in enumerate(case.shape)
    ]
    inputs = keras.Input(batch_shape=shape)
    return keras.Model(inputs, case.choose(case.make()(inputs)))


@functools.cache
def trained_model(case):
    """A model after one epoch with tf.data, and inputs for it."""
    model, x = model_of(case), inputs_for(case)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    y = np.random.default_rng(1).normal(size=model(x).shape)
    data = untuned(tf.data.Dataset.from_tensors((x, y))).repeat(4)
    losses = model.fit(data, epochs=1, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    return model, x


def defaults_of(layer):
    """{argument: its default} of a constructor and those it hands on to."""
    defaults = {}
    for base in layer.__mro__[: layer.__mro__.index(keras.layers.Layer)]:
        for parameter in inspect.signature(base.__init__).parameters.values():
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                defaults.setdefault(parameter.name, parameter.default)
    defaults.pop("self")
    if layer is moe_keras.HierarchicalGate:  # it decides these for `Router`
        del defaults["num_experts"], defaults["kernel_initializer"]
    return defaults


def in_config(name, value):
    """An argument as `get_config` has to tell it."""
    if name.endswith("initializer"):
        return keras.initializers.serialize(keras.initializers.get(value))
    if name.endswith("regularizer"):
        return keras.regularizers.serialize(keras.regularizers.get(value))
    if isinstance(value, keras.layers.Layer | ClampedGLU | WeightQuantization):
        return keras.saving.serialize_keras_object(value)
    return value


@pytest.mark.parametrize(
    "layer",
    [
        value
        for value in vars(moe_keras).values()
        if inspect.isclass(value)
        and issubclass(value, keras.layers.Layer)
        and value is not moe_keras.Router  # a base class
    ],
)
def test_no_argument_has_the_same_value_in_all_cases(layer):
    cases = [
        defaults_of(layer) | case.arguments()
        for case in (*LAYER_CASES, *CONFIG_CASES)
        if case.layer is layer
    ]
    for name, value in cases[0].items():
        if name != "causal":  # of which there is but one value
            assert any(case[name] != value for case in cases), name


@all_configs
def test_config_equals_constructor(case):
    arguments = case.arguments()
    layer = case.layer(**arguments)
    config = layer.get_config()
    for name, value in (defaults_of(case.layer) | arguments).items():
        if not inspect.isfunction(value):  # that has a test below
            assert config[name] == in_config(name, value), name
    again = type(layer).from_config(config)
    assert again.get_config() == config
    # As Keras writes it to a file, with its own objects as dictionaries.
    stored = keras.saving.serialize_keras_object(layer)
    restored = keras.saving.deserialize_keras_object(stored)
    assert keras.saving.serialize_keras_object(restored) == stored


def test_config_has_every_expert_that_a_function_made():
    widths = iter((3, 4, 5))
    layer = moe_keras.SparseMoE(
        3, expert=lambda: keras.layers.Dense(next(widths), activation="tanh")
    )
    experts = layer.get_config()["expert"]["config"]["experts"]
    for units, expert in zip((3, 4, 5), experts, strict=True):
        assert expert["class_name"] == "Dense"
        assert expert["config"]["units"] == units
        assert expert["config"]["activation"] == "tanh"


@all_layers
def test_fit_moves_every_weight(case):
    model, _ = trained_model(case)
    fresh = model_of(case)
    for before, after in zip(
        fresh.trainable_variables, model.trainable_variables, strict=True
    ):
        assert np.isfinite(after).all()
        assert np.abs(after - before).max() > 0, after.path


@all_layers
def test_keras_file_round_trip(case, tmp_path):
    model, x = trained_model(case)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.optimizer.iterations == 4  # ready to go on


@all_layers
def test_weights_round_trip(case, tmp_path):
    model, x = trained_model(case)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = model_of(case)
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(fresh(x), model(x))


@single_layers
def test_exported_model_gives_the_same_outputs(case, tmp_path):
    """Bit for bit from call to call; to rounding between the two graphs.

    The exported graph fuses products with what follows them, which adds in
    another order where the processor has AVX-512: some float32 roundings,
    each 6e-8 of the numbers that are added.
    """
    model, x = trained_model(case)
    model.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    expected = np.asarray(model(x))
    rounding = 20 * 2**-24 * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(served.serve(x), expected, rtol=0, atol=rounding)
    np.testing.assert_array_equal(served.serve(x), served.serve(x))


@single_layers
def test_two_replicas(case, two_replicas):
    if not case.splits:
        pytest.skip("its batch axis is no batch")
    with two_replicas.scope():
        model = model_of(case)
        model.compile(keras.optimizers.SGD(0.1), "mse")
    x = inputs_for(case)
    y = np.zeros(model(x).shape)
    data = untuned(tf.data.Dataset.from_tensor_slices((x, y)))
    logs = model.fit(data.batch(len(x)).repeat(2), verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    for weight in model.trainable_variables:
        replicas = [np.array(copy) for copy in weight.value.values]
        np.testing.assert_array_equal(*replicas)


@all_layers
def test_sizes_may_be_unknown_and_change(case):
    layer = case.make()
    signature = tf.TensorSpec(
        [
            None if axis in case.unknown else size
            for axis, size in enumerate(case.shape)
        ]
    )

    @tf.function(input_signature=[signature])
    def run(x):
        return case.choose(layer(x))

    for extra in (0, 1, 3):
        shape = [
            size + extra * (axis in case.unknown)
            for axis, size in enumerate(case.shape)
        ]
        x = np.random.default_rng(extra).normal(size=shape).astype("float32")
        eager = case.choose(layer(x))
        np.testing.assert_allclose(run(x), eager, rtol=1e-4, atol=1e-5)


@all_layers
def test_output_shape_is_known_beforehand(case):
    layer = case.make()
    known = case.choose(layer(keras.Input(batch_shape=case.shape)))
    assert tuple(known.shape) == case.choose(layer(inputs_for(case))).shape


@pytest.mark.slow
@all_layers
def test_mixed_bfloat16_is_near_float32(case):
    x = inputs_for(case)
    expected = model_of(case)(x)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = model_of(case)
        outputs = tf.cast(model(x), "float32")
        model.compile("sgd", "mse")
        model.fit(x, expected, batch_size=len(x), verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(outputs, expected, rtol=0.1, atol=0.05)
    for weight in model.trainable_variables:
        assert weight.dtype == "float32"
        assert np.isfinite(weight).all()
