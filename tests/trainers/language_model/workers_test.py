"""Two workers in real processes, each with lines of its own."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest
import small_training

from benchmarks.kill_resume import differences
from trainers.engine.checkpoints.recent import training_folder

ROOT = pathlib.Path(small_training.__file__).parents[1]
LINES = ["one dog runs", "two dogs run", "one cat sleeps", "two cats sleep"]
SETTINGS = (
    *("vocabulary_kind=words", "vocab_size=20", "dev_lines=4"),
    *("depth=8", "lstm_units=8", "num_experts=4", "expert_hidden_dim=8"),
    *("rows=3", "time_steps=4", "window=3", "shuffle_buffer=4"),
    *("warmup_steps=1", "evaluate_every=3", "save_every=2", "log_every=1"),
    "schedule=constant",
)


def _write_files(folder):
    """Files of unlike sizes, one of them empty."""
    for name, times in (("a", 6), ("b", 6), ("c", 2), ("d", 0)):
        text = "".join(f"{line}\n" for line in times * LINES)
        (folder / f"train-{name}.txt").write_text(text)
    (folder / "more.txt").write_text("a bird sings\n")
    (folder / "dev.txt").write_text("one dog sleeps\n")


def _addresses(count):
    servers = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return [f"localhost:{port}" for port in ports]


@contextlib.contextmanager
def _training(folder, steps, train, workers=2):
    """Context manager: the processes, which are ended behind it.

    What each says is in `FOLDER-INDEX.txt`.
    """
    dev = folder.parent / "dev.txt"
    command = [
        *(sys.executable, "-m", "trainers.lm", f"--model_dir={folder}"),
        *(f"--train={train}", f"--dev={dev}", f"--test={dev}"),
        *(f"--set={x}" for x in (*SETTINGS, f"steps={steps}")),
    ]
    if workers > 1:
        cluster = ",".join(_addresses(workers))
        command += ["--strategy=multi_worker", f"--cluster={cluster}"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    processes = []
    try:
        for index in range(workers):
            own = [f"--index={index}"] if workers > 1 else []
            with _output(folder, index).open("wb") as file:
                processes.append(
                    subprocess.Popen(
                        [*command, *own],
                        stdout=file,
                        stderr=subprocess.STDOUT,
                        env=environment,
                    )
                )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _output(folder, index):
    return folder.with_name(f"{folder.name}-{index}.txt")


def _train(folder, steps, train, workers=2, until=None):
    """Trains until the checkpoint of a step, the last by default, is there.

    All processes are killed then: what follows the last one takes long.
    """
    last = folder / f"checkpoints/step-{until or steps}"
    end = time.monotonic() + 600
    with _training(folder, steps, train, workers) as processes:
        while not last.exists():
            is_over = any(process.poll() for process in processes)
            assert not is_over and time.monotonic() < end, _output(
                folder, 0
            ).read_text()
            time.sleep(0.1)


def _last(folder):
    return training_folder(folder).stored()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "train", ["train-*.txt", "train-*.txt@3,more.txt@1"], ids=["files", "mixed"]
)
def test_killed_run_of_two_workers_ends_as_one_that_was_not(train, tmp_path):
    _write_files(tmp_path)
    train = ",".join(f"{tmp_path}/{part}" for part in train.split(","))
    if train.endswith("@1"):  # a line for each worker of each corpus
        (tmp_path / "more.txt").write_text("a bird sings\nbirds sing\n")
    _train(tmp_path / "whole", 5, train)
    for until in (2, 5):
        _train(tmp_path / "halves", 5, train, until=until)
    whole, halves = (_last(tmp_path / name) for name in ("whole", "halves"))
    assert whole.step == halves.step == 5
    # With other places in the data, or other carried states, the weights would
    # have become others.
    differing, compared = differences(whole.path, halves.path)
    assert compared > 40 and not differing


@pytest.mark.slow
def test_another_number_of_workers_goes_on_with_the_weights(tmp_path):
    _write_files(tmp_path)
    train = f"{tmp_path}/train-*.txt"
    _train(tmp_path / "run", 2, train)
    _train(tmp_path / "run", 4, train, workers=1)
    said = _output(tmp_path / "run", 0).read_text()
    assert "Resuming after step 2." in said
    assert "workers (there 2, now 1)" in said and "They begin anew" in said


@pytest.mark.slow
def test_corpus_with_fewer_lines_than_workers_is_refused_by_all(tmp_path):
    _write_files(tmp_path)
    folder = tmp_path / "run"
    with _training(folder, 2, f"{tmp_path}/more.txt") as processes:
        codes = [process.wait(timeout=500) for process in processes]
    assert codes == [1, 1]
    for index in range(2):
        assert (
            "has no line for worker 1 of 2"
            in _output(folder, index).read_text()
        )
