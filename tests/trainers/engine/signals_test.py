"""The program itself under SIGINT and SIGTERM, and without its corpus."""

import os
import pathlib
import signal
import subprocess

import pytest
import small_training

from benchmarks.kill_resume import translator_command, write_corpora
from trainers.engine.checkpoints.recent import training_folder

ROOT = pathlib.Path(small_training.__file__).parents[1]
FAR = 100_000  # steps that no test reaches

pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path):
    """The command that trains for so many steps."""
    write_corpora(tmp_path)
    settings = ("dev_sentences=2",)
    return lambda steps: translator_command(tmp_path, steps, 5, 3, settings)(
        tmp_path / "run"
    )


@pytest.fixture
def start():
    """Starts a command as a shell in the foreground does."""
    started = []

    def run(command, interrupt=signal.SIG_DFL):
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process, beginning):
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(f"{beginning!r} did not come: {process.stderr.read()}")


def test_both_signals_save_and_the_same_command_goes_on(
    command, start, tmp_path
):
    process = start(command(FAR))
    wait_for(process, "step 4/")
    first = end_by("SIGINT", 130, process, tmp_path / "run")
    again = start(command(FAR))
    wait_for(again, f"Resuming after step {first}.")
    wait_for(again, f"step {first + 1}/")
    assert end_by("SIGTERM", 143, again, tmp_path / "run") > first


def test_sigterm_saves_where_ctrl_c_is_ignored(command, start, tmp_path):
    process = start(command(FAR), interrupt=signal.SIG_IGN)  # as under nohup
    wait_for(process, "step 3/")
    process.send_signal(signal.SIGINT)
    wait_for(process, "step 5/")
    end_by("SIGTERM", 143, process, tmp_path / "run")


def end_by(name, code, process, folder):
    """Sends a signal; returns the step that the program has saved."""
    process.send_signal(signal.Signals[name])
    out, errors = process.communicate()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    step = training_folder(folder).stored()[-1].step
    assert out.splitlines()[-1] == (
        f"{name}: all is saved after step {step}. Give the same command "
        "again to go on."
    )
    return step


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_before_training_ends_with_a_word(
    command, start, tmp_path, name, code
):
    process = start(command(FAR))
    wait_for(process, "Reading ")
    process.send_signal(signal.Signals[name])
    _, errors = process.communicate()
    assert process.returncode == code
    what = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM"}[name]
    assert errors.splitlines()[-1] == (
        f"Stopped by {what}. Nothing that was saved is lost."
    )
    assert "Traceback" not in errors


def test_corpus_that_vanishes_is_told_in_a_line(command, start, tmp_path):
    for file in tmp_path.glob("train.*"):  # epochs of a few steps
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(lines[:60]))
    process = start(command(FAR))
    wait_for(process, "step 4/")
    (tmp_path / "train.fr").unlink()
    _, errors = process.communicate()
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert last.startswith("Error: a file cannot be read any more: ")
    assert f"{tmp_path}/train.fr; No such file" in last
    assert "Traceback" not in errors
