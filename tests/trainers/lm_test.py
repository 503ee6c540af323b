"""The program of language models: its help and its errors."""

import subprocess
import sys
import types

import pytest

from trainers.engine import served_copy
from trainers.language_model.modes import MODES, run
from trainers.language_model.usage import MODES as NAMES
from trainers.language_model.usage import PRECISIONS, USAGE


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "trainers.lm", *arguments],
        capture_output=True,
        text=True,
    )


def test_help_teaches_every_mode_and_flag_and_ends_well():
    process = _run("--help")
    assert process.returncode == 0
    flags = [f"--{name}" for name in USAGE.modes_of_flag if name != "set"]
    for word in (*NAMES, *flags, "moe_131072_h"):
        assert word in process.stdout.replace("[no]", "")


def test_every_mode_has_a_function():
    assert {"train_and_evaluate", *MODES} == {*NAMES}


def test_program_knows_the_precisions_of_an_export():
    assert PRECISIONS == served_copy.PRECISIONS


@pytest.mark.parametrize(
    "given, message",
    [
        (
            ["--mode=score", "--samples=2"],
            "--mode=score does not take --samples; generate does",
        ),
        (
            ["--mode=generate", "--labels=a"],
            "--mode=generate does not take --labels; evaluate, experts does",
        ),
        (["file"], "does not take arguments file; score, generate does"),
    ],
)
def test_flag_that_would_be_passed_over_is_a_mistake(given, message):
    process = _run(*given)
    assert process.returncode == 1
    assert message in process.stderr and "Traceback" not in process.stderr


@pytest.mark.parametrize(
    "mode, given, message",
    [
        (
            "train_and_evaluate",
            {"preset": "large"},
            "Unknown preset 'large'. Known: small",
        ),
        (
            "train_and_evaluate",
            {"train": "missing.txt"},
            "There is no file missing.txt",
        ),
        (
            "train_and_evaluate",
            {"set": ["softmax=half"]},
            "`softmax` must be one of full, sampled",
        ),
        ("evaluate", {}, "config.json is missing"),
    ],
)
def test_mistakes_are_told_in_one_line(mode, given, message, tmp_path):
    flags = {
        "preset": "small",
        "model_dir": str(tmp_path / "model"),
        "threads_per_operation": 1,
        "set": [],
        "strategy": "none",
        **dict.fromkeys(("train", "dev", "test", "labels")),
        **dict.fromkeys(("devices", "cluster", "index")),
        **dict.fromkeys(("layout", "mesh_shape")),
        **given,
    }
    with pytest.raises(SystemExit) as ended:
        run(mode, [], types.SimpleNamespace(**flags))
    (line,) = ended.value.code.splitlines()
    assert line.startswith("Error: ") and message in line
