"""The program of language models: its help and its errors."""

import json
import os
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


# What a stranger would write, without this project.
SERVE = """
import sys
import tensorflow as tf
import tensorflow_text
served = tf.saved_model.load(sys.argv[1])
score = served.signatures["score"](inputs=tf.constant([sys.argv[2]]))
print(f"{score['log_probs'].numpy()[0]:.4f}")
"""


@pytest.mark.slow
def test_main_job_ends_with_perplexity_samples_experts_and_a_saved_model(
    tmp_path,
):
    """As a person would run it, in an empty folder.

    Of the words of the phrasebook each is one of hundreds; 13.7 per word was
    measured. A model of word frequencies alone has a perplexity of 328 there
    (counts of the training text, each raised by one).
    """
    environment = dict(os.environ)
    python = environment.pop("INSTALLED_PYTHON", sys.executable)
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)  # the checkout is not installed
    how = {
        "capture_output": True,
        "text": True,
        "cwd": tmp_path,
        "env": environment,
    }
    lm = [python, "-m", "trainers.lm"]
    process = subprocess.run(lm, **how)
    assert process.returncode == 0, process.stderr[-2000:]
    folder = tmp_path / "runs/lm-small"
    results = json.loads((folder / "results.json").read_text())
    assert results["perplexity"] < 15
    assert f"Perplexity {results['perplexity']:.2f}" in process.stdout
    assert "5 of 5 of these texts to the letter" in process.stdout
    assert "moe_2_layer" in process.stdout  # the table of the experts
    assert results["routing"]["moe_2_layer"]["cv_load"] < 0.5
    sample = results["samples"][0]
    assert f"  {sample}\n" in process.stdout
    scored = subprocess.run(
        [*lm, "--mode=score", f"--model_dir={folder}"],
        input=sample + "\n",
        **how,
    )
    served = subprocess.run(
        [python, "-c", SERVE, folder / "export/1", sample], **how
    )
    assert served.returncode == 0, served.stderr
    assert float(served.stdout) == pytest.approx(
        float(scored.stdout.split("\t")[0]), rel=1e-3
    )
