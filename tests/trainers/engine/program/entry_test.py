"""Help, version and wrong flags, which do not wait for TensorFlow."""

import os
import re
import subprocess
import sys

import pytest

import moe_keras

# Runs the program and says at its end whether TensorFlow was imported.
_WATCHED = """
import atexit, runpy, sys
atexit.register(lambda: print("imported:", "tensorflow" in sys.modules))
runpy.run_module("trainers.nmt", run_name="__main__", alter_sys=True)
"""


def run(*arguments, code=_WATCHED, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("flag", ["--help", "-?", "--helpshort", "--helpfull"])
def test_help_ends_well_and_without_tensorflow(flag):
    process = run(flag)
    assert process.returncode == 0
    assert "--model_dir" in process.stdout
    assert process.stdout.endswith("imported: False\n")


def test_version_names_the_package_and_what_it_stands_on():
    process = run("--version")
    assert process.returncode == 0
    first, last = process.stdout.splitlines()
    assert first.startswith(f"moe-keras {moe_keras.__version__} (tensorflow ")
    assert re.search(r"keras 3\..*Python 3\.", first)
    assert last == "imported: False"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--modell_dir=a"], "Unknown command line flag 'modell_dir'"),
        (["--mode=train"], "--mode=train: value should be one of"),
        (["--n_best=many"], "--n_best=many: invalid literal"),
        (["--mode=score", "--n_best=2"], "--mode=score does not take --n_best"),
        (["corpus.tsv"], "does not take arguments corpus.tsv"),
    ],
)
def test_wrong_flag_is_one_line_at_once(arguments, message):
    process = run(*arguments)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("Error: ") and message in line
    assert line.endswith(". See --help.")
    assert process.stdout == "imported: False\n"


@pytest.mark.parametrize(
    "encoding, shown",
    [
        ("ascii", b"O\\xf9 \\u8001 \\udcff\n"),
        ("latin-1", b"O\xf9 \\u8001 \\udcff\n"),
        ("gbk", b"O\xa8\xb4 \xc0\xcf \\udcff\n"),
        ("utf-8", "Où 老 \\udcff\n".encode()),
    ],
)
def test_characters_that_an_encoding_lacks_are_escaped(encoding, shown):
    code = (
        "import sys; from trainers.engine.program.entry import take_any_text; "
        "take_any_text(); print('Où 老 \\udcff'); "
        "print('Où 老 \\udcff', file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
    )
    assert (process.stdout, process.stderr) == (shown, shown)


def test_closed_output_is_no_error():
    code = "from trainers.engine.program import entry; entry.take_any_text()"
    command = f"exec >&- 2>&-; exec {sys.executable} -c '{code}'"
    assert subprocess.run(["bash", "-c", command]).returncode == 0


def test_help_that_is_not_read_to_its_end_is_no_error():
    command = f"{sys.executable} -m trainers.nmt --help"
    shell = f'{command} | head -n 1; exit "${{PIPESTATUS[0]}}"'
    process = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True
    )
    assert process.returncode in (0, 141)  # it may all have been written
    assert process.stderr == ""


def test_files_are_named_in_utf8_under_any_locale(tmp_path):
    # TensorFlow names them so; a locale of ASCII would have Python escape them.
    code = (
        "import sys; from trainers.engine.program.entry import "
        "name_files_in_utf8; name_files_in_utf8(); "
        "print(sys.getfilesystemencoding()); open(sys.argv[1], 'w').close()"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.run(
        [sys.executable, "-c", code, "données 老"],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, **plain},
    )
    assert process.stdout == b"utf-8\n", process.stderr
    assert os.listdir(os.fsencode(tmp_path)) == ["données 老".encode()]
