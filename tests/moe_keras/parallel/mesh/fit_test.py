"""Keras' own loop with a model under a layout, against one device."""

import contextlib

import keras
import numpy as np
import pytest
from small_moe import DEPTH, layout_named, small_moe, tokens, wholes

from moe_keras.parallel import update_in_place
from moe_keras.parallel.mesh.sharded_weight import ShardedWeight

# 21 examples in batches of 8: the last one has 5.
X = tokens(21).numpy()
Y = np.stack([X.sum(1), np.sin(X[:, 0])], axis=1).astype("float32")


def user_model(layout=None, run_eagerly=False):
    """A model as a user would write it, compiled."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((DEPTH,))
    hidden = keras.layers.Dense(DEPTH, activation="tanh", name="first")(inputs)
    with layout.scope() if layout else contextlib.nullcontext():
        hidden = small_moe(layout)(hidden)
    outputs = keras.layers.Dense(2, name="last")(hidden)
    model = keras.Model(inputs, outputs)
    optimizer = keras.optimizers.Adam(0.02)
    if layout:
        optimizer = update_in_place(optimizer)
    model.compile(optimizer, "mse", metrics=["mae"], run_eagerly=run_eagerly)
    return model


def fit(model, epochs, number=21):
    how = {"batch_size": 8, "shuffle": False, "verbose": 0}
    return model.fit(X[:number], Y[:number], epochs=epochs, **how).history


def assert_same(ours, theirs):
    """As of 20 steps: losses to 1e-4, weights to 1e-3 and 1e-4 beside it."""
    ours, theirs = wholes(ours), wholes(theirs)
    assert ours.keys() == theirs.keys()
    for path, weight in theirs.items():
        np.testing.assert_allclose(ours[path], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name, run_eagerly",
    [
        ("hidden", True),
        pytest.param("hidden", False, marks=pytest.mark.slow),
        pytest.param("exchange", False, marks=pytest.mark.slow),
        pytest.param("experts", False, marks=pytest.mark.slow),
    ],
)
def test_fit_is_that_of_one_device(name, run_eagerly):
    plain = user_model(run_eagerly=run_eagerly)
    split = user_model(layout_named(name), run_eagerly)
    epochs, number = (1, 11) if run_eagerly else (3, 21)
    expected = fit(plain, epochs, number)
    history = fit(split, epochs, number)
    assert history.keys() == expected.keys()  # those of the routing as well
    for figure, values in expected.items():
        np.testing.assert_allclose(history[figure], values, rtol=1e-4)
    if epochs > 1:
        assert expected["loss"][-1] < 0.8 * expected["loss"][0]
    assert_same(split, plain)


@pytest.mark.slow
def test_evaluate_and_predict_are_those_of_one_device():
    plain, split = user_model(), user_model(layout_named("experts"))
    how = {"batch_size": 8, "verbose": 0}
    np.testing.assert_allclose(
        split.evaluate(X, Y, **how), plain.evaluate(X, Y, **how), rtol=1e-5
    )
    np.testing.assert_allclose(
        split.predict(X, **how), plain.predict(X, **how), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_keras_files_of_a_fitted_model(tmp_path):
    """Weights fit any layout, the state of Keras' optimizer its own."""
    layout = layout_named("hidden")
    split = user_model(layout)
    fit(split, epochs=1)
    split.save(tmp_path / "split.keras")
    with layout.scope():
        again = keras.models.load_model(tmp_path / "split.keras")
    assert isinstance(again.layers[2].experts.kernel_in, ShardedWeight)
    for ours, theirs in zip(
        again.optimizer.variables, split.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.warns(UserWarning, match="Skipping variable loading for opt"):
        whole = keras.models.load_model(tmp_path / "split.keras")
    assert not isinstance(whole.layers[2].experts.kernel_in, ShardedWeight)
    split.save_weights(tmp_path / "split.weights.h5")
    fresh = user_model()
    fresh.load_weights(tmp_path / "split.weights.h5")
    expected = split.predict(X, verbose=0)
    for model in (again, whole, fresh):
        assert_same(model, split)
        np.testing.assert_allclose(
            model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6
        )
