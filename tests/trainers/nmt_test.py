"""The program: its help, its errors, and the main job."""

import json
import os
import subprocess
import sys

import pytest
from absl import app, flags

from moe_keras.parallel.processes.strategies import STRATEGIES
from trainers import lm, nmt
from trainers.engine.program import flags as common_flags
from trainers.engine.program.usage import TRAINING
from trainers.engine.served_copy import PRECISIONS
from trainers.translator import modes, usage
from trainers.translator.folder import ModelFolder
from trainers.translator.presets import PRESETS, NmtConfig
from trainers.translator.text_modes import ALIGNMENTS, LONG_LINES
from translation.model.config import TranslatorConfig
from translation.search.ensemble import MEANS
from translation.search.translate import MAX_SOURCE_LENGTH


def _run(*arguments, python=sys.executable, **kwargs):
    return subprocess.run(
        [python, "-m", "trainers.nmt", *arguments],
        capture_output=True,
        text=True,
        **kwargs,
    )


def _flags(*given):
    """The flags of the program, and its arguments that are none."""
    values = flags.FlagValues()
    nmt.define_flags(values)
    return values(["nmt", *given]), values


def _main(*given):
    nmt.main(*_flags(*given))


def test_both_programs_have_flags_of_their_own_in_one_process():
    _, values = _flags("--preset=wmt14", "--train=a")
    others = flags.FlagValues()
    lm.define_flags(others)
    others(["lm", "--preset=moe_4"])
    assert (values.preset, others.preset) == ("wmt14", "moe_4")
    assert (values.train, others.train) == ("a", None)
    assert "pair" in values and "pair" not in others


def test_help_teaches_every_mode_and_flag():
    process = _run("--help")
    assert process.returncode == 0
    text = process.stdout
    for word in (
        "--mode",
        "--preset",
        "--pair",
        "--model_dir",
        "--train",
        "--dev",
        "--test",
        "--set",
        "--mode=translate",
        "--mode=average",
        "--mode=score",
        "--n_best",
        "--alignments",
        "--target",
        "--source",
        "target_column",
        "zero_shot",
        "--ensemble",
        "--average_of",
        "--strategy=mirrored",
        "--cluster=",
        "--mode=experts",
        "--labels",
        "resumes",
        "130 and 143",
    ):
        assert word in text


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--preset=large", "Unknown preset 'large'. Known: phrasebook"),
        ("--set=size=3", "Known fields: "),
        ("--train=missing/prefix", "missing/prefix"),
        ("--mode=export", "config.json is missing"),
        ("--set=max_bad_steps=0", "`max_bad_steps` must be above zero"),
        ("--strategy=multi_worker", "give --cluster=HOST:PORT"),
        ("--devices=2", "`devices` is for the strategy mirrored"),
    ],
)
def test_mistakes_are_told_in_one_line(flag, message, tmp_path):
    given = [flag, f"--model_dir={tmp_path / 'model'}"]
    with pytest.raises(SystemExit) as ended:
        _main(*given)
    (line,) = ended.value.code.splitlines()
    assert line.startswith("Error: ") and message in line


@pytest.mark.parametrize(
    "given, message",
    [
        (
            ["--mode=score", "--n_best=2"],
            "--mode=score does not take --n_best; translate does",
        ),
        (
            ["--mode=evaluate", "--train=a"],
            "--mode=evaluate does not take --train; train_and_evaluate does",
        ),
        (
            ["--mode=translate", "--average_of=best", "file"],
            "--mode=translate does not take --average_of; average does",
        ),
        (
            ["--mode=export", "file"],
            "does not take arguments file; translate, score does",
        ),
        (["--init_from=a"], "--init_from goes with --train alone"),
        (
            ["--mode=evaluate", "--init_from=a"],
            "--mode=evaluate does not take --init_from",
        ),
        (["--index=3"], "--index goes with --cluster alone"),
        (
            ["--mode=export", "--ensemble_mean=log_probabilities"],
            "--ensemble_mean goes with --ensemble alone",
        ),
        (
            ["--mode=evaluate", "--preset=multi30k", "--model_dir=a"],
            "takes the configuration of --model_dir; leave out --preset",
        ),
    ],
)
def test_flag_that_would_be_passed_over_is_a_mistake(given, message):
    with pytest.raises(app.UsageError, match=message):
        _main(*given)


def test_a_program_with_a_mesh_is_the_first_of_its_cluster(tmp_path):
    mesh = ["--mesh_shape=all:1", "--layout=experts:all", "--cluster=a:1,b:1"]
    given = [*mesh, "--index=1", f"--model_dir={tmp_path / 'model'}"]
    message = "Error: The program that trains is the first .*index 1"
    with pytest.raises(SystemExit, match=message):
        _main(*given)


def test_init_from_brings_sizes_and_languages_and_flags_the_rest(
    tmp_path, monkeypatch
):
    model = TranslatorConfig(depth=48)
    ModelFolder(tmp_path).save_config(NmtConfig(pair="de-en", model=model))
    found = []
    monkeypatch.setattr(
        modes.translation_task,
        "train_and_evaluate",
        lambda config, *_: found.append(config),
    )
    given = [
        *(f"--init_from={tmp_path}", "--train=a", "--dev=b"),
        *("--preset=multi30k", "--set=dropout=0.3", "--set=steps=7"),
    ]
    _main(*given, f"--model_dir={tmp_path / 'new'}")
    (config,) = found
    assert (config.pair, config.model.depth) == ("de-en", 48)
    assert (config.model.dropout, config.loop.steps) == (0.3, 7)
    assert (config.train, config.dev) == ("a", "b")
    assert config.loop.learning_rate == PRESETS["multi30k"].loop.learning_rate
    assert config.init_from == str(tmp_path)


def test_trained_model_has_its_languages(tmp_path):
    ModelFolder(tmp_path).save_config(NmtConfig(pair="en-fr"))
    for mode, message in (
        ("translate", "translates en-fr. Received: --pair=en-de"),
        ("evaluate", "does not know 'de'. It translates en-fr"),
    ):
        given = [f"--mode={mode}", "--pair=en-de", f"--model_dir={tmp_path}"]
        with pytest.raises(SystemExit, match=message):
            _main(*given)


def test_evaluation_takes_some_directions_and_others_when_asked(
    tmp_path, monkeypatch
):
    ModelFolder(tmp_path).save_config(NmtConfig(pair="en-fr,de:both"))
    given = ["--mode=evaluate", f"--model_dir={tmp_path}", "--test=x"]
    message = "not trained from fr to de. .* --zero_shot takes"
    with pytest.raises(SystemExit, match=message):
        _main(*given, "--pair=en-fr,fr-de")
    with pytest.raises(SystemExit, match="does not know 'es'"):
        _main(*given, "--pair=en-es", "--zero_shot")
    found = []
    monkeypatch.setattr(
        modes.translation_task, "evaluate", lambda *x: found.append(x)
    )
    _main(*given, "--pair=en-fr,fr-de", "--zero_shot")
    assert found[0][-2:] == ("en-fr,fr-de", True)


def test_text_modes_say_which_languages_there_are(tmp_path):
    ModelFolder(tmp_path).save_config(NmtConfig(pair="en-fr,de:both"))
    for flag, message in (
        ("--n_best=2", "--target must say into which language"),
        ("--target=it", "know 'it'. It translates en-fr, fr-en, en-de, de-en"),
        ("--pair=en-fr", "translates en-fr,fr-en,en-de,de-en. Received"),
    ):
        given = ["--mode=translate", flag, f"--model_dir={tmp_path}"]
        with pytest.raises(SystemExit, match=message):
            _main(*given)


def test_flags_take_what_the_modules_take():
    assert usage.PRESETS == tuple(PRESETS)
    assert common_flags.STRATEGIES == STRATEGIES
    assert usage.PRECISIONS == PRECISIONS
    assert usage.ALIGNMENTS == ALIGNMENTS
    assert usage.MEANS == MEANS
    assert usage.LONG_LINES == LONG_LINES
    _, values = _flags()
    assert values["max_source_length"].default == MAX_SOURCE_LENGTH
    assert set(usage.MODES) == {TRAINING, *modes.MODES}


def test_mistakes_end_the_program_without_a_traceback(tmp_path):
    process = _run("--preset=large", f"--model_dir={tmp_path / 'model'}")
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: Unknown preset 'large'")
    assert "Traceback" not in process.stderr


# What README says of the SavedModel, with TensorFlow alone.
SERVE = """
import sys
import tensorflow as tf
import tensorflow_text
served = tf.saved_model.load(sys.argv[1])
translate = served.signatures["serving_default"]
outputs = translate(inputs=tf.constant([sys.argv[2]]))["outputs"]
print(outputs.numpy()[0].decode())
"""


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["en-fr", "en-de"])
def test_main_job_reaches_85_bleu(pair, tmp_path):
    """Runs in an empty folder; where INSTALLED_PYTHON is set, by that one."""
    environment = dict(os.environ)
    python = environment.pop("INSTALLED_PYTHON", sys.executable)
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)  # the checkout is not installed
    how = {"python": python, "cwd": tmp_path, "env": environment}
    process = _run(f"--pair={pair}", **how)
    assert process.returncode == 0, process.stderr[-2000:]
    folder = tmp_path / f"runs/phrasebook-{pair}"
    results = json.loads((folder / "results.json").read_text())
    assert results["bleu"] >= 85
    assert results["signature"] in process.stdout
    assert "5 of 5 of these translations" in process.stdout
    example = results["examples"][0]
    translated = _run(
        "--mode=translate",
        f"--model_dir={folder}",
        input=example["source"] + "\n",
        **how,
    )
    assert translated.stdout.strip() == example["translation"]
    served = subprocess.run(
        [python, "-c", SERVE, folder / "export/1", example["source"]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert served.stdout.strip() == example["translation"], served.stderr
