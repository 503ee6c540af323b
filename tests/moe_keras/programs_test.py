"""The programs of the package answer before TensorFlow is imported."""

import pathlib
import subprocess
import sys

import pytest

from moe_keras import programs
from moe_keras.plan.memory import OPTIMIZERS, PRECISIONS
from moe_keras.plan.presets import PRESETS
from moe_keras.version import __version__

ROOT = pathlib.Path(programs.__file__).parents[1]
# At the end of the process: whether TensorFlow was imported.
SITE = """
import atexit, sys
atexit.register(lambda: print("imported:", "tensorflow" in sys.modules))
"""


def _run(tmp_path, *arguments):
    """The process, ended; its output says whether TensorFlow was imported."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    return subprocess.run(
        [sys.executable, "-X", "utf8", *arguments],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
    )


@pytest.mark.parametrize("program", programs.PROGRAMS)
@pytest.mark.parametrize(
    "argument, code", [("--help", 0), ("--version", 0), ("--none", 2)]
)
def test_help_version_and_mistakes_need_no_tensorflow(
    program, argument, code, tmp_path
):
    process = _run(tmp_path, "-m", program, argument)
    assert process.returncode == code, process.stderr
    assert process.stdout.endswith("imported: False\n")
    expected = __version__ if argument == "--version" else f"-m {program}"
    assert expected in process.stdout + process.stderr


def test_arguments_of_another_program_are_its_own(tmp_path):
    package = tmp_path / "other"
    package.mkdir()
    (package / "__init__.py").write_text("import moe_keras")
    (package / "run.py").write_text("import sys; print(sys.argv[1:])")
    process = _run(tmp_path, "-m", "other.run", "--help")
    assert process.stdout.startswith("['--help']"), process.stderr


def test_arguments_take_what_the_planner_takes():
    assert tuple(PRESETS) == programs.PRESETS
    assert (OPTIMIZERS, PRECISIONS) == (
        programs.OPTIMIZERS,
        programs.PRECISIONS,
    )
