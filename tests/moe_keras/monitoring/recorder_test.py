"""A loop of one's own, and a run that resumes."""

import keras
import tensorflow as tf

from moe_keras import SparseMoE
from moe_keras.monitoring import RoutingRecorder, WindowFile


def _model(*names):
    layers = [SparseMoE(4, k=2, hidden_dim=5, name=name) for name in names]
    return keras.Sequential(
        [keras.Input((3,)), *(keras.Sequential([layer]) for layer in layers)]
    )


def _train(model, recorder, *steps):
    for step in steps:
        model(tf.random.normal((64, 3), seed=1), training=True)
        recorder.close(step)


def test_resumed_run_knows_how_things_stood(tmp_path):
    model = _model("low", "high")
    recorder = RoutingRecorder(model, tmp_path)
    recorder.begin(0)
    _train(model, recorder, 5, 10, 15)
    again = RoutingRecorder(_model("low", "high"), tmp_path)
    again.begin(10)
    assert [w.step for w in WindowFile(tmp_path).read()] == [5, 5, 10, 10]
    assert {k: v.level for k, v in again.verdicts.items()} == {
        "low": "healthy",
        "high": "healthy",
    }


def test_no_step_makes_no_window():
    recorder = RoutingRecorder(_model("moe"))
    recorder.begin(3)
    assert recorder.close(3) == []
    assert len(recorder.close(4)) == 1


def test_layers_of_one_name_are_told_apart():
    recorder = RoutingRecorder(_model("moe", "moe"))
    assert len(recorder.layers_by_name) == 2


def test_model_without_experts_has_no_windows():
    recorder = RoutingRecorder(keras.Sequential([keras.Input((3,))]))
    recorder.add_gradients([], [])
    assert recorder.close(1) == []
