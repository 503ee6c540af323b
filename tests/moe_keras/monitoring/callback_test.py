"""RoutingMonitor in `fit`: what it counts, says and writes."""

import keras
import numpy as np
import pytest

from moe_keras import SparseMoE
from moe_keras.monitoring import RoutingMonitor

SAMPLES, LENGTH, D, E = 24, 3, 4, 4


def compiled_model(optimizer="sgd"):
    keras.utils.set_random_seed(0)
    layer = SparseMoE(E, k=2, hidden_dim=5, seed=0, name="moe")
    model = keras.Sequential([keras.Input((None, D)), layer])
    model.compile(optimizer, "mse")
    return model, layer


def data():
    x = np.random.default_rng(0).normal(size=(SAMPLES, LENGTH, D))
    return x.astype("float32")


def fit(model, monitor, **kwargs):
    x = data()
    kwargs = {"batch_size": 6, "verbose": 0, "callbacks": [monitor], **kwargs}
    return model.fit(x, x, **kwargs)


def test_windows_span_epochs_and_leave_evaluation_out(tmp_path):
    model, _ = compiled_model()
    monitor = RoutingMonitor(tmp_path, every=3)
    # Two epochs of 4 steps: windows of 3, 3 and the last 2.
    fit(model, monitor, epochs=2, validation_data=(data(), data()))
    windows = monitor.windows
    assert [window.step for window in windows] == [3, 6, 8]
    assert [window.steps for window in windows] == [3, 3, 2]
    tokens = [6 * LENGTH * window.steps for window in windows]
    assert [window.tokens for window in windows] == tokens
    assert all(window.mean_k == 2.0 for window in windows)
    assert all(window.gate_gradient > 0 for window in windows)
    assert windows[0].changed_share is None
    assert 0 <= windows[1].changed_share <= 1
    assert len((tmp_path / "routing.jsonl").read_text().splitlines()) == 3
    assert list((tmp_path / "logs/routing").glob("events*"))


def test_watch_comes_to_a_model_that_was_trained_before():
    model, _ = compiled_model()
    x = data()
    model.fit(x, x, batch_size=6, verbose=0)
    monitor = RoutingMonitor(every=2)
    fit(model, monitor)
    assert [window.step for window in monitor.windows] == [6, 8]
    assert all(window.tokens > 0 for window in monitor.windows)
    assert all(window.gate_gradient > 0 for window in monitor.windows)


def test_watching_changes_no_weight():
    weights = []
    for callbacks in ([], [RoutingMonitor(every=2)]):
        model, _ = compiled_model("adam")
        fit(model, None, callbacks=callbacks)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_second_fit_goes_on_and_is_wrapped_once():
    model, _ = compiled_model()
    monitor = RoutingMonitor(every=4)
    fit(model, monitor)
    fit(model, monitor)
    assert [window.step for window in monitor.windows] == [4, 8]
    other = RoutingMonitor(every=4)
    fit(model, other)
    assert len(other.windows) == 1
    assert not hasattr(model.optimizer.apply.unwatched, "unwatched")


@pytest.mark.slow
def test_compiling_anew_is_noticed():
    model, _ = compiled_model()
    monitor = RoutingMonitor(every=4)
    fit(model, monitor)
    model.compile("adam", "mse")
    fit(model, monitor)
    assert [window.step for window in monitor.windows] == [4, 8]
    assert all(window.gate_gradient > 0 for window in monitor.windows)


def test_several_steps_in_one_call_are_counted():
    model, _ = compiled_model()
    model.compile("sgd", "mse", steps_per_execution=2)
    monitor = RoutingMonitor(every=2)
    fit(model, monitor)
    assert [window.step for window in monitor.windows] == [2, 4]
    assert [window.tokens for window in monitor.windows] == [36, 36]


def test_change_of_a_verdict_is_one_line():
    model, layer = compiled_model(keras.optimizers.SGD(0.0))
    # Noise far below the gaps, and gaps that all tokens share.
    x = np.ones((SAMPLES, LENGTH, D), "float32")
    layer.gate.gate_kernel.assign(np.tile(100.0 * np.arange(E), (D, 1)))
    lines = []
    monitor = RoutingMonitor(every=2, log=lines.append)
    model.fit(x, x, batch_size=6, verbose=0, callbacks=[monitor])
    assert len(lines) == 1
    assert "step 2  moe: healthy -> collapsed (spread of load 0.000" in lines[0]
    assert "Try: " in lines[0]
    assert monitor.verdicts["moe"].level == "collapsed"


def test_model_is_saved_as_it_would_be_unwatched(tmp_path):
    model, _ = compiled_model()
    fit(model, RoutingMonitor(every=2))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(data()), model(data()))
    (observer,) = loaded.layers[0].observers
    assert observer is loaded.layers[0].monitor


@pytest.mark.slow
def test_replicas_count_together(two_replicas):
    with two_replicas.scope():
        model, _ = compiled_model()
    monitor = RoutingMonitor(every=2)
    fit(model, monitor)
    alone = RoutingMonitor(every=2)
    fit(compiled_model()[0], alone)
    for two, one in zip(monitor.windows, alone.windows, strict=True):
        assert two.tokens == one.tokens == 36
        assert sum(two.load) == sum(one.load) == 72
        assert two.gate_gradient > 0


@pytest.mark.slow
def test_step_compiled_by_xla_counts_the_same():
    windows = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        layer = SparseMoE(E, 2, hidden_dim=5, seed=0, capacity_factor=1.0)
        inputs = keras.Input((LENGTH, D), batch_size=6)
        model = keras.Model(inputs, layer(inputs))
        model.compile("sgd", "mse", jit_compile=jit_compile)
        monitor = RoutingMonitor(every=2)
        fit(model, monitor)
        windows.append(monitor.windows)
    for plain, compiled in zip(*windows, strict=True):
        assert plain.tokens == compiled.tokens == 36
        assert sum(compiled.load) == 72
        assert (compiled.changed_share is None) == (compiled.step == 2)


def test_bad_window_is_refused():
    with pytest.raises(ValueError, match="`every` must be at least 1"):
        RoutingMonitor(every=0)


class TwoOfOneName(keras.Model):
    """Has no weights before its first call, and no gate with a path."""

    def __init__(self):
        super().__init__()
        self.blocks = [
            SparseMoE(E, k=2, hidden_dim=5, name="moe") for _ in "12"
        ]

    def call(self, inputs, training=False):
        for block in self.blocks:
            inputs = block(inputs, training=training)
        return inputs


def test_model_that_was_never_called_is_watched_after_its_first_step():
    model, monitor = TwoOfOneName(), RoutingMonitor(every=2)
    model.compile("sgd", "mse")
    fit(model, monitor)
    windows = monitor.windows
    assert [window.step for window in windows] == [2, 2, 4, 4]
    assert [window.steps for window in windows] == [1, 1, 2, 2]
    tokens = [6 * LENGTH * window.steps for window in windows]
    assert [window.tokens for window in windows] == tokens
    assert all(window.gate_gradient > 0 for window in windows)
    assert len({window.layer for window in windows}) == 2


def test_model_without_a_step_has_no_windows():
    model, monitor = TwoOfOneName(), RoutingMonitor()
    model.compile("sgd", "mse")
    fit(model, monitor, epochs=0)
    assert monitor.windows == [] and monitor.verdicts == {}


def test_steps_are_batches_where_gradients_accumulate(tmp_path):
    every_2 = keras.optimizers.SGD(gradient_accumulation_steps=2)
    model, _ = compiled_model(every_2)
    fit(model, RoutingMonitor(tmp_path, every=1), steps_per_epoch=3)
    monitor = RoutingMonitor(tmp_path, every=1)  # as after a restart
    fit(model, monitor, steps_per_epoch=2)
    assert [window.step for window in monitor.windows] == [1, 2, 3, 4, 5]
    assert all(window.gate_gradient > 0 for window in monitor.windows)
