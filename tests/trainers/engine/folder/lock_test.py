"""One process at a time trains in a folder."""

import os
import subprocess
import sys

import pytest

from trainers.engine.folder import lock
from trainers.engine.folder.files import FolderError
from trainers.engine.folder.lock import locked


@pytest.fixture
def folder(tmp_path):
    """A folder that holds something."""
    folder = tmp_path / "runs/one"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


# Holds the lock, as a training run in another process, until it is killed.
HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
file.write("process 77 on far-away\\n")
file.flush()
print("held", flush=True)
sys.stdin.read()
"""


def test_folder_that_another_process_trains_in_is_refused(folder):
    command = [sys.executable, "-c", HOLDER, str(folder / "lock")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout.readline() == b"held\n"
        message = "one is in use by process 77 on far-away. Wait for it, or"
        with pytest.raises(FolderError, match=message):
            with locked(folder):
                pass
        holder.kill()
        holder.wait()
        with locked(folder):  # went with the process, leaving its file
            assert f"process {os.getpid()} on" in (folder / "lock").read_text()


def test_lock_is_given_back_even_after_an_error(folder):
    with pytest.raises(KeyError):
        with locked(folder):
            raise KeyError
    with locked(folder):
        with pytest.raises(FolderError, match="is in use by process"):
            with locked(folder):
                pass


def test_folder_made_for_a_lock_alone_goes_with_it(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyError):
        with locked(folder):
            raise KeyError
    assert not folder.exists()
    with locked(folder):
        (folder / "config.json").write_text("{}")
    with locked(folder):
        pass
    assert (folder / "config.json").exists()


def test_lock_that_was_taken_away_meanwhile_is_none(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    flock = lock.fcntl.flock

    def late(file, how):
        flock(file, how)
        (tmp_path / "run/lock").unlink()  # by the one that had it

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with pytest.raises(FolderError, match="is in use by"):
        with locked(folder):
            pass


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be written to: Not a dir"):
        with locked(tmp_path / "file/run"):
            pass
