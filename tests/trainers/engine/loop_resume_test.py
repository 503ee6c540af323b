"""A run that was stopped and goes on: nothing is lost, nothing is mixed up."""

import dataclasses
import re
import signal

import pytest
import tensorflow as tf
from small_loop import CONFIG, assert_same_state, run_loop, small_loop
from small_training import examples, small_task

from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.interruption import Interrupted
from trainers.engine.loop import Loop
from translation.text.input_pipeline import untuned


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    # Dropout, gating noise, layers in a list, a shuffle buffer.
    config = dataclasses.replace(CONFIG, average_decay=0.9, steps=17)
    whole = Loop(small_task(), config, tmp_path / "whole", print)
    whole.run()
    for steps in (4, 5, 11, 17):
        config = dataclasses.replace(config, steps=steps)
        resumed = run_small(config, tmp_path / "stopped")
    assert int(resumed.step) == 17
    assert_same_state(whole, resumed)


def test_one_graph_serves_batches_of_all_sizes(tmp_path):
    # Of 5, 5, 5, 5, 3 a resumed run may begin with any: were the first batch
    # to have a graph of its own, its results would differ in the last bits.
    sizes = untuned(tf.data.Dataset.range(23)).batch(5).repeat()
    task = small_task(batches=sizes.map(examples))
    loop = Loop(task, CONFIG, tmp_path, lambda line: None)
    loop.run()
    assert loop._train_step._update.experimental_get_tracing_count() == 1


def test_factored_adam_resumes_and_keeps_little_for_experts(tmp_path):
    config = dataclasses.replace(CONFIG, optimizer="factored_adam")
    whole = Loop(small_task(), config, tmp_path / "whole", print)
    whole.run()
    for steps in (4, 6):
        config = dataclasses.replace(config, steps=steps)
        resumed = run_small(config, tmp_path / "stopped")
    assert_same_state(whole, resumed)
    # Kernels (4, 6, 5) and (4, 5, 6): a number for each row and column.
    shapes = [tuple(v.shape) for v in resumed.optimizer.variables]
    assert (4, 6, 5) not in shapes and (4, 5, 6) not in shapes
    # Rows of one and columns of the other, both moments of bias_out.
    assert shapes.count((4, 6)) == 4


def test_names_in_checkpoints_stay_as_they_are(tmp_path):
    config = dataclasses.replace(
        CONFIG, steps=2, loss_scale=4.0, average_decay=0.9
    )
    run_loop(config, tmp_path, (1.0,))
    stored = training_folder(tmp_path).stored()[-1]
    names = tf.train.load_checkpoint(stored.prefix).get_variable_to_shape_map()
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    found = {name.removesuffix(end) for name in names}
    assert found - {"_CHECKPOINTABLE_OBJECT_GRAPH"} == {
        "model/output.Skernel",  # .S stands for a slash
        "model/output.Sbias",
        *(f"optimizer/{n}" for n in range(5)),  # iterations, moments
        *(f"average/averages/{n}" for n in range(2)),
        "average/updates",
        "batches/.ATTRIBUTES/py_state",
        "best/score",
        "best/perplexity",
        "best/evaluations_since",
        "bad_steps",
        "step",
        "evaluated",
        "seconds",
        "loss_scale/factor",
        "loss_scale/finite_steps",
    }


def test_checkpoint_of_another_run_is_refused_by_its_fields(tmp_path):
    run_loop(
        CONFIG, tmp_path, identity={"depth": 4, "pair": "en-fr", "dim": (1,)}
    )
    with pytest.raises(CheckpointError) as error:
        small_loop(CONFIG, tmp_path, identity={"depth": 8, "dim": (1,)})
    assert str(error.value).endswith("configuration: depth (there 4, now 8).")


@pytest.mark.usefixtures("foreground")
@pytest.mark.parametrize("moment", ["evaluating", "training"])
def test_stop_is_no_loss(tmp_path, moment):
    whole, _, _ = run_loop(CONFIG, tmp_path / "whole")

    def evaluate(check):
        signal.raise_signal(signal.SIGTERM)
        if moment == "evaluating":
            check()
        return {"score": 1.0}

    lines = []
    loop = small_loop(
        CONFIG, tmp_path / "stopped", log=lines.append, evaluate=evaluate
    )
    with pytest.raises(Interrupted, match="SIGTERM"):
        loop.run()
    step = 3 if moment == "evaluating" else 4  # nobody asked before
    assert lines[-1].startswith(f"SIGTERM: all is saved after step {step}.")
    scores = (1.0, 2.0) if moment == "evaluating" else (2.0,)
    resumed, _, lines = run_loop(CONFIG, tmp_path / "stopped", scores)
    assert [line[:13] for line in lines if line.startswith("dev")] == [
        f"dev at step {step}" for step in (3, 6)[-len(scores) :]
    ]
    assert_same_state(whole, resumed)


def test_last_whole_checkpoint_is_taken_and_the_torn_one_named(tmp_path):
    whole, _, _ = run_loop(CONFIG, tmp_path / "whole")
    run_loop(dataclasses.replace(CONFIG, steps=5), tmp_path / "torn")
    torn = training_folder(tmp_path / "torn").stored()[-1]
    (torn.path / "ckpt.index").write_bytes(b"short")
    loop, _, lines = run_loop(CONFIG, tmp_path / "torn", (1.0, 2.0))
    assert re.search(r"step-5/ckpt.index is torn: 5 of .* is taken.", lines[0])
    assert lines[1] == "Resuming after step 4."
    assert_same_state(whole, loop)


def test_full_disk_ends_training_and_with_room_it_goes_on(small_disk, tmp_path):
    whole = Loop(small_task(), CONFIG, tmp_path / "whole", print)
    whole.run()
    run_small(dataclasses.replace(CONFIG, steps=3), small_disk / "run")
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
    with pytest.raises((CheckpointError, tf.errors.ResourceExhaustedError)):
        run_small(CONFIG, small_disk / "run")
    filler.unlink()
    assert_same_state(whole, run_small(CONFIG, small_disk / "run"))


def run_small(config, folder):
    loop = Loop(small_task(), config, folder, print)
    loop.resume()
    loop.run()
    return loop
