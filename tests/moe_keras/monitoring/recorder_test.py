"""A loop of one's own, and a run that resumes."""

import keras
import numpy as np
import tensorflow as tf

from moe_keras import (
    BiasBalancedGate,
    HierarchicalGate,
    SparseMoE,
    SwitchGate,
)
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


def test_advice_and_noise_are_those_of_the_gate_at_hand():
    gates = {
        "noisy": HierarchicalGate(2, 2, k=(1, 2)),
        "biased": BiasBalancedGate(4, k=2),
    }
    # Ones look all alike: every token goes to the same two experts of four.
    # Side by side: behind the noise of another layer they would differ.
    inputs = keras.Input((3,))
    outputs = [
        SparseMoE(4, hidden_dim=3, gate=gate, name=name)(inputs)
        for name, gate in gates.items()
    ]
    model = keras.Model(inputs, outputs)
    kernel = gates["noisy"].primary.gate_kernel
    kernel.assign([[9.0, 0.0]] * 3)
    recorder = RoutingRecorder(model)
    recorder.begin(0)
    model(tf.ones((64, 3)), training=True)
    noisy, biased = recorder.close(1)
    # Logits 27 and 0, noise softplus(0) = log 2.
    assert abs(noisy.noise_over_gap - np.log(2) / 27) < 1e-5
    assert "importance_loss_weight" in noisy.verdict.advice
    assert "noise_epsilon" in noisy.verdict.advice
    assert biased.noise_over_gap is None
    assert biased.verdict.level == "collapsed"
    assert "raise update_rate" in biased.verdict.advice
    assert "noise" not in biased.verdict.advice


def test_layer_is_judged_by_whether_its_load_is_kept_even():
    inputs = keras.Input((4,))
    weights = {"kept": (0.1, 0.1), "left": (0.0, 0.0)}
    layers = [
        SparseMoE(
            4,
            gate=SwitchGate(4, balance_loss_weight=0.0),
            hidden_dim=2,
            importance_loss_weight=importance,
            load_loss_weight=load,
            name=name,
        )
        for name, (importance, load) in weights.items()
    ]
    model = keras.Model(inputs, [layer(inputs) for layer in layers])
    for layer in layers:
        layer.gate.gate_kernel.assign(np.eye(4))
    recorder = RoutingRecorder(model)
    recorder.begin(0)
    # Loads of 48, 40, 8 and 0 of 96, mean 24: CV^2 is (24^2 + 16^2 + 16^2 +
    # 24^2) / 4 / 24^2 = 0.72, experts in use 4 / 1.72 = 2.32, and the spread
    # (2.32 - 1) / (4 - 1) = 0.44, between the two thresholds.
    tokens = np.eye(4, dtype="float32")[[0] * 48 + [1] * 40 + [2] * 8]
    model(tokens, training=True)
    kept, left = recorder.close(1)
    assert abs(kept.spread - 0.44) < 0.03 and kept.spread == left.spread
    assert (kept.verdict.level, left.verdict.level) == ("healthy", "collapsing")
    assert "from 0" in left.verdict.advice


def test_no_step_makes_no_window():
    recorder = RoutingRecorder(_model("moe"))
    recorder.begin(3)
    assert recorder.close(3) == []
    assert len(recorder.close(4)) == 1


def test_layers_of_one_name_are_told_apart():
    recorder = RoutingRecorder(_model("moe", "moe"))
    assert len(recorder.layers_by_name) == 2
    # Of one path as well: both stand in one layer of their own.
    block = keras.layers.Layer(name="block")
    block.parts = [SparseMoE(4, k=2, hidden_dim=5, name="moe") for _ in "123"]
    for part in block.parts:
        part.build((None, 3))
        part._path = "block/moe"
    named = RoutingRecorder(block).layers_by_name
    assert list(named) == ["block/moe", "block/moe_2", "block/moe_3"]
    assert list(named.values()) == block.parts


def test_model_without_experts_has_no_windows():
    recorder = RoutingRecorder(keras.Sequential([keras.Input((3,))]))
    recorder.add_gradients([], [])
    assert recorder.close(1) == []
