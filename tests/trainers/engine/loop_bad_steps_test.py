"""Steps that are not finite: left out, named, counted."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from small_loop import (
    CONFIG,
    Batches,
    assert_same_state,
    run_loop,
    small_loop,
    squared_error,
)

from trainers.engine.bad_steps import TrainingError
from trainers.engine.checkpoints.recent import training_folder


def test_bad_batch_is_left_out_named_and_kept(tmp_path):
    # Batches 2 and 4 are bad: six steps take batches 0 1 3 5 6 7.
    def texts(batch):
        return {"said": [f"row {i}, é" for i in range(len(batch[0]))]}

    loop, _, lines = run_loop(
        CONFIG, tmp_path, batches=Batches(bad=(2, 4)), texts=texts
    )
    assert (
        int(loop.optimizer.iterations) == 6 and loop.batches.state.number == 8
    )
    path = tmp_path / "bad_steps/step-3-bad-1.npz"
    assert any("loss of step 3 is nan" in x and str(path) in x for x in lines)
    saved = np.load(path)
    assert np.isnan(saved["0"][3, 1]) and saved["1"].shape == (5,)
    assert saved["said"][3] == "row 3, é"
    assert (tmp_path / "bad_steps/step-4-bad-2.npz").exists()

    good = Batches(order=(0, 1, 3, 5, 6, 7))
    without, _, _ = run_loop(CONFIG, tmp_path / "clean", batches=good)
    assert_same_state(loop, without)


def test_overflow_lowers_the_loss_scale_and_is_no_bad_step(tmp_path):
    def loss(model, batch):  # 8 times the scale overflows from 2^16 on
        loss_sum, tokens = squared_error(model, batch)
        through_float16 = tf.cast(tf.cast(loss_sum, tf.float16), tf.float32)
        return loss_sum + 8 * tokens * (through_float16 - loss_sum), tokens

    config = dataclasses.replace(CONFIG, loss_scale=2.0**16, max_bad_steps=1)
    loop, _, lines = run_loop(config, tmp_path, loss=loss)
    told = [line for line in lines if "the loss scale falls to" in line]
    assert len(told) == 4  # 2^16 to 2^12
    assert int(loop.step) == 6 and int(loop.bad_steps.count) == 0
    again = small_loop(config, tmp_path)
    assert float(again.loss_scale.factor) == 2.0**12
    assert int(again.loss_scale.finite_steps) == 6


def test_too_many_bad_steps_end_training_and_keep_the_last_good_one(tmp_path):
    config = dataclasses.replace(CONFIG, max_bad_steps=3)
    loop = small_loop(config, tmp_path, batches=Batches(bad=(2, 3, 4, 5)))
    with pytest.raises(TrainingError, match="step 3 is nan.*max_bad_steps=3"):
        loop.run()
    assert [s.step for s in training_folder(tmp_path).stored()] == [2]
    assert len(list((tmp_path / "bad_steps").iterdir())) == 3
    # With better batches it goes on from there.
    loop, _, _ = run_loop(CONFIG, tmp_path)
    assert int(loop.step) == 6


def test_bad_steps_are_counted_over_the_whole_run(tmp_path):
    config = dataclasses.replace(CONFIG, steps=2, max_bad_steps=2)
    run_loop(config, tmp_path, batches=Batches(bad=(0,)), scores=(1.0,))
    longer = dataclasses.replace(config, steps=4)
    with pytest.raises(TrainingError, match="With 2 such steps"):
        run_loop(longer, tmp_path, batches=Batches(bad=(0, 3)))
