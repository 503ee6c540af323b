"""The training loop on a model small enough to follow."""

import dataclasses
import itertools
import re
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_training import small_task

from moe_keras import SparseMoE
from moe_keras.monitoring import WindowFile
from trainers.bad_steps import TrainingError
from trainers.best_checkpoints import best_folder, load_best
from trainers.checkpoint_files import CheckpointError
from trainers.checkpoints import training_folder
from trainers.interruption import Interrupted
from trainers.loop import Loop
from trainers.loop_config import LoopConfig
from trainers.task import Task

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
    # Named: a checkpoint knows weights by their layers' names.
    output = keras.layers.Dense(1, name="output")
    return keras.Sequential([keras.Input((2,)), output])


def _squared_error(model, batch):
    inputs, targets = batch
    error = model(inputs, training=True)[:, 0] - targets
    return tf.reduce_sum(error**2), tf.cast(tf.size(error), tf.float32)


class Batches(tf.train.experimental.PythonState):
    """Batches told by their numbers; those in `bad` hold a NaN."""

    def __init__(self, bad=(), order=range(1000)):
        self.number, self._bad, self._order = 0, bad, order

    def __iter__(self):
        return self

    def __next__(self):
        number = self._order[self.number]
        random = np.random.default_rng(number)
        inputs = random.normal(size=(5, 2)).astype("float32")
        if number in self._bad:
            inputs[3, 1] = np.nan
        self.number += 1
        return tf.constant(inputs), tf.constant(inputs.sum(1))

    def serialize(self):
        return str(self.number)

    def deserialize(self, text):
        self.number = int(text)


def _scores(*values):
    values = iter(values)
    return lambda check: {"score": next(values)}


def _loop(config, folder, scores=(1.0, 2.0), log=lambda line: None, **task):
    values = {
        "model": _model(),
        "loss": _squared_error,
        "batches": Batches(),
        "evaluate": _scores(*scores),
    }
    loop = Loop(Task(**(values | task)), config, folder, log)
    loop.resume()
    return loop


def _run(config, folder, scores=(1.0, 2.0), **task):
    lines = []
    loop = _loop(config, folder, scores, lines.append, **task)
    loop.run()
    return loop, loop.model, lines


def _assert_same_state(loop, other):
    """Everything that a later step depends on, bit for bit."""
    for ours, theirs in (
        (loop.model.variables, other.model.variables),
        (loop.optimizer.variables, other.optimizer.variables),
        (loop.average.averages, other.average.averages),
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


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
    # Dropout, gating noise, layers in a list, a shuffle buffer.
    config = dataclasses.replace(CONFIG, average_decay=0.9, steps=17)
    whole = Loop(small_task(), config, tmp_path / "whole", print)
    whole.run()
    for steps in (4, 5, 11, 17):
        config = dataclasses.replace(config, steps=steps)
        resumed = _run_small(config, tmp_path / "stopped")
    assert int(resumed.step) == 17
    _assert_same_state(whole, resumed)


def test_factored_adam_resumes_and_keeps_little_for_experts(tmp_path):
    config = dataclasses.replace(CONFIG, optimizer="factored_adam")
    whole = Loop(small_task(), config, tmp_path / "whole", print)
    whole.run()
    for steps in (4, 6):
        config = dataclasses.replace(config, steps=steps)
        resumed = _run_small(config, tmp_path / "stopped")
    _assert_same_state(whole, resumed)
    # Kernels (4, 6, 5) and (4, 5, 6): a number for each row and column.
    shapes = [tuple(v.shape) for v in resumed.optimizer.variables]
    assert (4, 6, 5) not in shapes and (4, 5, 6) not in shapes
    # Rows of one and columns of the other, both moments of bias_out.
    assert shapes.count((4, 6)) == 4


@pytest.mark.parametrize(
    "field, message",
    [
        ({"optimizer": "sgd"}, "`optimizer` must be one of adam, f"),
        ({"patience": -1}, "`patience` must not be negative"),
        ({"average_decay": 1.0}, "`average_decay` must be at least 0"),
    ],
)
def test_field_out_of_range_is_refused(field, message):
    with pytest.raises(ValueError, match=message):
        LoopConfig(**field)


def test_batches_that_forget_their_place_are_refused(tmp_path):
    with pytest.raises(ValueError, match="PythonState.*Received: generator"):
        _loop(CONFIG, tmp_path, batches=iter(b for b in Batches()))


def test_best_weights_are_those_of_the_best_score(tmp_path):
    # The evaluation after step 3 scores higher than that after step 6.
    short = dataclasses.replace(CONFIG, steps=3)
    _, at_3, _ = _run(short, tmp_path / "short", scores=(9.0,))
    _, model, _ = _run(CONFIG, tmp_path / "long", scores=(9.0, 1.0))
    assert load_best(tmp_path / "long", model).name == "step-3"
    for a, b in zip(at_3.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_best_score_of_the_last_evaluation_is_not_forgotten(tmp_path):
    _run(CONFIG, tmp_path, scores=(1.0, 5.0))
    longer = dataclasses.replace(CONFIG, steps=9)
    _, _, lines = _run(longer, tmp_path, scores=(4.0,))
    assert "(best)" not in lines[-1]
    assert [s.step for s in best_folder(tmp_path).stored()] == [6]


def test_only_the_last_checkpoints_are_kept(tmp_path):
    _run(dataclasses.replace(CONFIG, keep_checkpoints=2), tmp_path)
    assert [s.step for s in training_folder(tmp_path).stored()] == [4, 6]


def test_stops_when_the_minutes_are_used_up(tmp_path):
    config = dataclasses.replace(CONFIG, steps=10**6, max_minutes=1e-5)
    loop, _, _ = _run(config, tmp_path)
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
        loop = _loop(config, tmp_path, scores=range(9))
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


def test_patience_ends_training_and_outlives_it(tmp_path):
    config = dataclasses.replace(
        CONFIG, steps=100, evaluate_every=2, patience=2
    )
    # Evaluations after steps 2 to 10: the best is the second, two follow.
    scores = (1.0, 2.0, 2.0, 1.5)
    loop, _, lines = _run(config, tmp_path, scores)
    assert int(loop.step) == 8
    assert lines[-1] == (
        "No better score in 2 evaluations: training ends after step 8."
    )
    again, _, _ = _run(config, tmp_path, scores=())
    assert int(again.step) == 8
    patient = dataclasses.replace(config, patience=3)
    later, _, _ = _run(patient, tmp_path, scores=(1.0,))
    assert int(later.step) == 10


@pytest.mark.parametrize("save_every", [1, 100])
def test_patience_counts_on_after_a_stop(tmp_path, save_every):
    config = dataclasses.replace(
        CONFIG, steps=4, evaluate_every=2, patience=3, save_every=save_every
    )
    _run(config, tmp_path, scores=(2.0, 1.0))
    longer = dataclasses.replace(config, steps=100)
    loop, _, _ = _run(longer, tmp_path, scores=(1.0, 1.0))
    assert int(loop.step) == 8


def test_other_measure_begins_the_search_for_the_best_anew(tmp_path):
    _run(CONFIG, tmp_path, (8.0, 9.0), measure={"dev": "a", "beam": 5})
    longer = dataclasses.replace(CONFIG, steps=9)
    loop, _, lines = _run(
        longer, tmp_path, (2.0, 1.0), measure={"dev": "b", "beam": 5}
    )
    assert any("begins anew" in line for line in lines)
    # What is there is measured first, then what follows.
    dev = [line for line in lines if line.startswith("dev")]
    assert [re.search(r"\d+", line)[0] for line in dev] == ["6", "9"]
    assert [s.about["score"] for s in best_folder(tmp_path).stored()] == [2.0]
    assert float(loop.best.score) == 2.0


def test_same_measure_goes_on(tmp_path):
    _run(CONFIG, tmp_path, measure={"penalty": float("inf"), "n": (1, 2)})
    longer = dataclasses.replace(CONFIG, steps=9)
    _, _, lines = _run(
        longer, tmp_path, (0.5,), measure={"penalty": float("inf"), "n": (1, 2)}
    )
    assert not any("anew" in line for line in lines)


def test_checkpoint_of_another_run_is_refused_by_its_fields(tmp_path):
    _run(CONFIG, tmp_path, identity={"depth": 4, "pair": "en-fr", "dim": (1,)})
    with pytest.raises(CheckpointError) as error:
        _loop(CONFIG, tmp_path, identity={"depth": 8, "dim": (1,)})
    assert str(error.value).endswith("configuration: depth (there 4, now 8).")


@pytest.mark.parametrize("moment", ["evaluating", "training"])
def test_stop_is_no_loss(tmp_path, moment):
    whole, _, _ = _run(CONFIG, tmp_path / "whole")

    def evaluate(check):
        signal.raise_signal(signal.SIGTERM)
        if moment == "evaluating":
            check()
        return {"score": 1.0}

    lines = []
    loop = _loop(
        CONFIG, tmp_path / "stopped", log=lines.append, evaluate=evaluate
    )
    with pytest.raises(Interrupted, match="SIGTERM"):
        loop.run()
    step = 3 if moment == "evaluating" else 4  # nobody asked before
    assert lines[-1].startswith(f"SIGTERM: all is saved after step {step}.")
    scores = (1.0, 2.0) if moment == "evaluating" else (2.0,)
    resumed, _, lines = _run(CONFIG, tmp_path / "stopped", scores)
    assert [line[:13] for line in lines if line.startswith("dev")] == [
        f"dev at step {step}" for step in (3, 6)[-len(scores) :]
    ]
    _assert_same_state(whole, resumed)


def test_bad_batch_is_left_out_named_and_kept(tmp_path):
    # Batches 2 and 4 are bad: six steps take batches 0 1 3 5 6 7.
    def texts(batch):
        return {"said": [f"row {i}, é" for i in range(len(batch[0]))]}

    loop, _, lines = _run(
        CONFIG, tmp_path, batches=Batches(bad=(2, 4)), texts=texts
    )
    assert int(loop.optimizer.iterations) == 6 and loop.batches.number == 8
    path = tmp_path / "bad_steps/step-3-bad-1.npz"
    assert any("loss of step 3 is nan" in x and str(path) in x for x in lines)
    saved = np.load(path)
    assert np.isnan(saved["0"][3, 1]) and saved["1"].shape == (5,)
    assert saved["said"][3] == "row 3, é"
    assert (tmp_path / "bad_steps/step-4-bad-2.npz").exists()

    good = Batches(order=(0, 1, 3, 5, 6, 7))
    without, _, _ = _run(CONFIG, tmp_path / "clean", batches=good)
    _assert_same_state(loop, without)


def test_overflow_lowers_the_loss_scale_and_is_no_bad_step(tmp_path):
    def loss(model, batch):  # 8 times the scale overflows from 2^16 on
        loss_sum, tokens = _squared_error(model, batch)
        through_float16 = tf.cast(tf.cast(loss_sum, tf.float16), tf.float32)
        return loss_sum + 8 * tokens * (through_float16 - loss_sum), tokens

    config = dataclasses.replace(CONFIG, loss_scale=2.0**16, max_bad_steps=1)
    loop, _, lines = _run(config, tmp_path, loss=loss)
    told = [line for line in lines if "the loss scale falls to" in line]
    assert len(told) == 4  # 2^16 to 2^12
    assert int(loop.step) == 6 and int(loop.bad_steps.count) == 0
    again = _loop(config, tmp_path)
    assert float(again.loss_scale.factor) == 2.0**12
    assert int(again.loss_scale.finite_steps) == 6


def test_too_many_bad_steps_end_training_and_keep_the_last_good_one(tmp_path):
    config = dataclasses.replace(CONFIG, max_bad_steps=3)
    loop = _loop(config, tmp_path, batches=Batches(bad=(2, 3, 4, 5)))
    with pytest.raises(TrainingError, match="step 3 is nan.*max_bad_steps=3"):
        loop.run()
    assert [s.step for s in training_folder(tmp_path).stored()] == [2]
    assert len(list((tmp_path / "bad_steps").iterdir())) == 3
    # With better batches it goes on from there.
    loop, _, _ = _run(CONFIG, tmp_path)
    assert int(loop.step) == 6


def test_bad_steps_are_counted_over_the_whole_run(tmp_path):
    config = dataclasses.replace(CONFIG, steps=2, max_bad_steps=2)
    _run(config, tmp_path, batches=Batches(bad=(0,)), scores=(1.0,))
    longer = dataclasses.replace(config, steps=4)
    with pytest.raises(TrainingError, match="With 2 such steps"):
        _run(longer, tmp_path, batches=Batches(bad=(0, 3)))


def test_score_that_is_not_a_number_is_not_the_best(tmp_path):
    nan = float("nan")
    _, _, lines = _run(CONFIG, tmp_path, scores=(nan, 1.0))
    assert [s.step for s in best_folder(tmp_path).stored()] == [6]


def test_last_whole_checkpoint_is_taken_and_the_torn_one_named(tmp_path):
    whole, _, _ = _run(CONFIG, tmp_path / "whole")
    _run(dataclasses.replace(CONFIG, steps=5), tmp_path / "torn")
    torn = training_folder(tmp_path / "torn").stored()[-1]
    (torn.path / "ckpt.index").write_bytes(b"short")
    loop, _, lines = _run(CONFIG, tmp_path / "torn", (1.0, 2.0))
    assert re.search(r"step-5/ckpt.index is torn: 5 of .* is taken.", lines[0])
    assert lines[1] == "Resuming after step 4."
    _assert_same_state(whole, loop)


def test_full_disk_ends_training_and_with_room_it_goes_on(small_disk, tmp_path):
    whole = Loop(small_task(), CONFIG, tmp_path / "whole", print)
    whole.run()
    _run_small(dataclasses.replace(CONFIG, steps=3), small_disk / "run")
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
    with pytest.raises((CheckpointError, tf.errors.ResourceExhaustedError)):
        _run_small(CONFIG, small_disk / "run")
    filler.unlink()
    _assert_same_state(whole, _run_small(CONFIG, small_disk / "run"))


def _run_small(config, folder):
    loop = Loop(small_task(), config, folder, print)
    loop.resume()
    loop.run()
    return loop


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

    _, _, lines = _run(
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
