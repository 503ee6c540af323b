"""The training loop on a model small enough to follow."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import SparseMoE
from moe_keras.monitoring import WindowFile
from trainers.loop import Loop, LoopConfig, TrainingError

CONFIG = LoopConfig(
    steps=6,
    warmup_steps=1,
    evaluate_every=3,
    save_every=2,
    log_every=2,
    average_decay=0.0,
)


def _model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    return model


def _squared_error(model, batch):
    inputs, targets = batch
    error = model(inputs, training=True)[:, 0] - targets
    return tf.reduce_sum(error**2), tf.cast(tf.size(error), tf.float32)


def _batches(start=0):
    while True:
        random = np.random.default_rng(start)
        inputs = random.normal(size=(5, 2)).astype("float32")
        yield tf.constant(inputs), tf.constant(inputs.sum(1))
        start += 1


def _scores(*values):
    values = iter(values)
    return lambda: {"score": next(values)}


def _run(config, folder, scores=(1.0, 2.0), start=0):
    lines = []
    model = _model()
    loop = Loop(model, _squared_error, config, folder, lines.append)
    loop.checkpoints.restore()
    loop.run(_batches(start), _scores(*scores))
    return loop, model, lines


def test_trains_logs_and_evaluates_on_time(tmp_path):
    loop, _, lines = _run(CONFIG, tmp_path)
    steps = [line.split("  ")[0] for line in lines]
    assert steps == [
        "step 2/6",
        "dev at step 3",
        "step 4/6",
        "step 6/6",
        "dev at step 6",
    ]
    assert "tokens/s" in lines[0] and "left" in lines[0]
    assert int(loop.step) == int(loop.optimizer.iterations) == 6


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    _, whole, _ = _run(CONFIG, tmp_path / "whole")
    half = dataclasses.replace(CONFIG, steps=4)
    _run(half, tmp_path / "stopped", scores=(1.0, 1.0))
    loop, resumed, _ = _run(CONFIG, tmp_path / "stopped", start=4)
    assert int(loop.step) == 6
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_best_weights_are_those_of_the_best_score(tmp_path):
    # The evaluation after step 3 scores higher than that after step 6.
    short = dataclasses.replace(CONFIG, steps=3)
    _, at_3, _ = _run(short, tmp_path / "short", scores=(9.0,))
    loop, model, _ = _run(CONFIG, tmp_path / "long", scores=(9.0, 1.0))
    assert loop.checkpoints.restore_best().endswith("-3")
    for a, b in zip(at_3.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_the_last_checkpoints_are_kept(tmp_path):
    _run(dataclasses.replace(CONFIG, keep_checkpoints=2), tmp_path)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").glob("*.index"))
    assert kept == ["ckpt-4.index", "ckpt-6.index"]


def test_stops_when_the_minutes_are_used_up(tmp_path):
    config = dataclasses.replace(CONFIG, steps=10**6, max_minutes=1e-5)
    loop, _, _ = _run(config, tmp_path)
    assert 1 <= int(loop.step) < 100


def test_gradient_is_clipped_to_the_norm(tmp_path):
    config = dataclasses.replace(CONFIG, clip_norm=1e-3)
    model = _model()
    loop = Loop(model, _squared_error, config, tmp_path, print)
    seen = []
    loop.optimizer.apply = lambda gradients, _: seen.append(
        tf.linalg.global_norm(gradients)
    )
    _, _, norm = loop._train_step_eagerly(next(_batches()))
    assert float(norm) > 1e-3
    np.testing.assert_allclose(seen[0], 1e-3, rtol=1e-5)


def test_gradient_that_is_not_finite_stops_before_anything_is_saved(tmp_path):
    # The loss sqrt(0 * w) is 0, its gradient infinite or NaN.
    def loss(model, batch):
        inputs, _ = batch
        output = model(0.0 * inputs, training=True)
        return tf.reduce_sum(tf.sqrt(output * 0.0)), tf.constant(1.0)

    config = dataclasses.replace(CONFIG, save_every=1)
    loop = Loop(_model(), loss, config, tmp_path, print)
    with pytest.raises(TrainingError, match="gradient norm (inf|nan)"):
        loop.run(_batches(), _scores(1.0))
    assert not list((tmp_path / "checkpoints").glob("*.index"))


def test_loss_that_is_not_finite_stops_with_its_step(tmp_path):
    def batches():
        yield from zip(range(2), _batches(), strict=False)

    def loss(model, batch):
        number, data = batch
        total, count = _squared_error(model, data)
        return total / (1.0 - tf.cast(number, tf.float32)), count

    loop = Loop(_model(), loss, CONFIG, tmp_path, print)
    with pytest.raises(TrainingError, match="loss of step 2 is (inf|nan)"):
        loop.run(batches(), _scores(1.0))


def _collapsed_model():
    """All tokens are alike and go to expert 2; nothing moves the gate."""
    layer = SparseMoE(4, k=1, hidden_dim=3, name="moe")
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Rescaling(0.0, offset=1.0),
            layer,
            keras.layers.Dense(1),
        ]
    )
    layer.gate.trainable = False
    layer.gate.gate_kernel.assign(np.tile([0.0, 0.0, 50.0, 0.0], (2, 1)))
    return model


def test_routing_is_watched_and_a_change_of_verdict_is_told(tmp_path):
    lines = []
    loop = Loop(
        _collapsed_model(), _squared_error, CONFIG, tmp_path, lines.append
    )

    def batches():
        for inputs, targets in _batches():
            yield tf.tile(inputs, [16, 1]), tf.tile(targets, [16])

    loop.run(batches(), _scores(1.0, 2.0))
    windows = WindowFile(tmp_path).read()
    assert [window.step for window in windows] == [2, 4, 6]
    # 2 steps of 16 x 5 tokens, all to expert 2; evaluation counts nowhere.
    assert all(window.load == [0, 0, 160, 0] for window in windows)
    assert all(window.gate_gradient is None for window in windows)  # frozen
    told = [line for line in lines if line.startswith("routing")]
    assert len(told) == 1
    assert "moe: healthy -> collapsed" in told[0]
    assert lines.index(told[0]) == 1  # right after the line of its window
