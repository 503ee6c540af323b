"""Nothing is lost, however a run is killed.

A run that is killed with SIGKILL while it trains, saves and evaluates, is
moved to another folder each time and started again, ends as one that was left
alone: bit for bit.
"""

import os
import pathlib
import signal
import subprocess
import sys

import pytest
import small_training
from small_checkpoints import small_checkpoints

from benchmarks.kill_resume import (
    best_differences,
    differences,
    run_alone,
    run_killed,
)
from trainers.engine.checkpoints.recent import training_folder

ROOT = pathlib.Path(small_training.__file__).parents[1]
STEPS = 24


def _command(folder):
    program = str(ROOT / "tests/small_training.py")
    return [sys.executable, program, str(folder), str(STEPS)]


@pytest.fixture(autouse=True)
def _import_from_here(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The last checkpoint of a run that nobody has disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        folder = tmp_path_factory.mktemp("alone") / "run"
        every = small_training.EVALUATE_EVERY
        return run_alone(_command, folder, STEPS, every)


@pytest.mark.slow
def test_killed_run_ends_as_one_left_alone(alone, tmp_path):
    every = small_training.EVALUATE_EVERY
    killed, kills = run_killed(_command, tmp_path / "run", STEPS, every, 3)
    assert len(kills) == 3 and killed.parent.parent.name == "run+++"
    differing, compared = differences(alone, killed)
    # Weights, averages and two moments of each of 10 variables at the least.
    assert compared > 40 and not differing
    differing, compared = best_differences(alone.parents[1], killed.parents[1])
    assert compared == 10 and not differing


@pytest.mark.slow
def test_difference_would_be_seen(alone):
    earlier = training_folder(alone.parents[1]).stored()[-2]
    assert earlier.step == STEPS - small_training.CONFIG.save_every
    differing, compared = differences(alone, earlier.path)
    assert 30 < len(differing) <= compared


def test_other_best_would_be_seen(tmp_path):
    for name, seed, score in (("a", 1, 2.0), ("b", 1, 2.0), ("c", 2, 3.0)):
        checkpoints = small_checkpoints(tmp_path / name, seed)
        checkpoints.save_best(4, score, True)
    small_checkpoints(tmp_path / "d").save_best(5, 2.0, True)
    a, b, c, d = (tmp_path / name for name in "abcd")
    names, compared = best_differences(a, b)
    assert compared and not names
    names, _ = best_differences(a, c)
    assert "best/step-4: score" in names
    assert any("kernel" in name for name in names)
    names, compared = best_differences(a, d)
    assert (names, compared) == (["best/step-4", "best/step-5"], 0)


@pytest.mark.slow
def test_sigterm_saves_says_how_to_go_on_and_ends_with_143(tmp_path):
    process = subprocess.Popen(
        _command(tmp_path), stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("step 2/"):
            os.kill(process.pid, signal.SIGTERM)
            break
    last = process.stdout.read().splitlines()[-1]
    assert process.wait() == 128 + signal.SIGTERM
    step = training_folder(tmp_path).stored()[-1].step
    assert 2 <= step < STEPS
    assert last == (
        f"SIGTERM: all is saved after step {step}. Give the same command "
        "again to go on."
    )
