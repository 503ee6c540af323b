"""The program on a disk that fills up, and on one that cannot be written to."""

import os
import pathlib
import subprocess

import pytest
import small_training

from benchmarks.kill_resume import translator_command, write_corpora

ROOT = pathlib.Path(small_training.__file__).parents[1]


def _remount(disk, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def _fill(file):
    with open(file, "wb", buffering=0) as opened:
        with pytest.raises(OSError, match="No space left"):
            while True:
                opened.write(bytes(4096))


@pytest.fixture
def train(small_disk, tmp_path):
    """Trains for so many steps, with other flags; the process, ended."""
    write_corpora(tmp_path)

    def run(steps, *flags, **kwargs):
        command = translator_command(tmp_path, steps, 2, 2, ())
        return subprocess.run(
            [*command(small_disk / "run"), *flags],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            **kwargs,
        )

    return run


@pytest.mark.slow
def test_full_or_locked_disk_is_told_in_a_line_and_loses_nothing(
    small_disk, train
):
    _remount(small_disk, "size=64m")
    first = train(4)
    assert first.returncode == 0, first.stderr
    filler = small_disk / "filler"
    _fill(filler)

    full = train(6)
    assert full.returncode == 1
    last = full.stderr.splitlines()[-1]
    assert last.startswith("Error: ") and "No space left on device" in last
    assert "Traceback" not in full.stderr

    filler.unlink()
    resumed = train(6)
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming after step 4." in resumed.stdout

    _remount(small_disk, "ro")
    locked = train(8)
    assert locked.returncode == 1
    last = locked.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {small_disk}/run cannot be written to: ")
    assert "Read-only file system" in last
    translated = train(6, "--mode=translate", input="the dog sleeps\n")
    assert translated.returncode == 0, translated.stderr
    assert len(translated.stdout.splitlines()) == 1
