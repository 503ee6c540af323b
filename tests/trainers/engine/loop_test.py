"""The training loop: its steps in time, and what it shows of them."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_loop import CONFIG, Batches, run_loop, small_loop

from moe_keras import SparseMoE
from moe_keras.monitoring import WindowFile
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.loop import Loop


def test_trains_logs_and_evaluates_on_time(tmp_path):
    loop, _, lines = run_loop(CONFIG, tmp_path)
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


@pytest.mark.parametrize(
    "field, message",
    [
        ({"optimizer": "sgd"}, "`optimizer` must be one of adam, l"),
        ({"patience": -1}, "`patience` must not be negative"),
        ({"average_decay": 1.0}, "`average_decay` must be at least 0"),
    ],
)
def test_field_out_of_range_is_refused(field, message):
    with pytest.raises(ValueError, match=message):
        LoopConfig(**field)


def test_batches_that_forget_their_place_are_refused(tmp_path):
    with pytest.raises(ValueError, match="PythonState.*Received: generator"):
        small_loop(CONFIG, tmp_path, batches=iter(b for b in Batches()))


def test_only_the_last_checkpoints_are_kept(tmp_path):
    run_loop(dataclasses.replace(CONFIG, keep_checkpoints=2), tmp_path)
    assert [s.step for s in training_folder(tmp_path).stored()] == [4, 6]


def test_there_is_a_checkpoint_before_the_first_evaluation(tmp_path):
    seen = []

    def evaluate(check):
        seen.append([s.step for s in training_folder(tmp_path).stored()])
        return {"score": 1.0}

    rare = dataclasses.replace(CONFIG, save_every=100)
    run_loop(rare, tmp_path, evaluate=evaluate)
    assert seen == [[0], [0]]
    assert [s.step for s in training_folder(tmp_path).stored()] == [6]


def test_stops_when_the_minutes_are_used_up(tmp_path):
    config = dataclasses.replace(CONFIG, steps=10**6, max_minutes=1e-5)
    loop, _, _ = run_loop(config, tmp_path)
    assert 1 <= int(loop.step) < 100


@pytest.mark.parametrize("limit", [{"steps": 4}, {"max_minutes": 4.0}])
def test_rate_falls_over_the_steps_or_the_minutes(tmp_path, monkeypatch, limit):
    clock = itertools.count(0.0, 60.0)  # a step begins, it ends: a minute
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    config = dataclasses.replace(
        CONFIG,
        **{"steps": 1000, "evaluate_every": 1000, "log_every": 1, **limit},
        schedule="linear",
        learning_rate=0.8,
    )
    rates = []
    for stop in (2, 4):  # with a stop in the middle, after which it goes on
        loop = small_loop(config, tmp_path, scores=range(9))
        loop.summaries.write_training = lambda _, __, rate, *___: rates.append(
            rate
        )
        monkeypatch.setattr(
            loop, "_is_over", lambda stop=stop, loop=loop: loop.step >= stop
        )
        loop.run()
    # The rate of each step, by the share that was behind when it began.
    np.testing.assert_allclose(rates, [0.8, 0.6, 0.4, 0.2], atol=1e-6)
    assert Loop._is_over(loop)


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
    class Many(Batches):
        def __next__(self):
            inputs, targets = super().__next__()
            return tf.tile(inputs, [16, 1]), tf.tile(targets, [16])

    _, _, lines = run_loop(
        CONFIG, tmp_path, model=_collapsed_model(), batches=Many()
    )
    windows = WindowFile(tmp_path).read()
    assert [window.step for window in windows] == [2, 4, 6]
    # 2 steps of 16 x 5 tokens, all to expert 2; evaluation counts nowhere.
    assert all(window.load == [0, 0, 160, 0] for window in windows)
    assert all(window.gate_gradient is None for window in windows)  # frozen
    told = [line for line in lines if line.startswith("routing")]
    assert len(told) == 1
    assert "moe: healthy -> collapsed" in told[0]
    assert lines.index(told[0]) == 1  # right after the line of its window
