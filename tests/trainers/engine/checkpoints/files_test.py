"""Checkpoints are whole or not there, and damage is named."""

import contextlib
import errno
import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from trainers.engine.checkpoints.files import (
    CheckpointError,
    CheckpointFolder,
    DamagedCheckpoint,
)


def _write(folder, step, value=None, size=4):
    value = float(step if value is None else value)
    variable = tf.Variable(np.full(size, value))
    return folder.write(step, tf.train.Checkpoint(v=variable).write, {})


def _value(stored):
    variable = tf.Variable(np.zeros(4))
    tf.train.Checkpoint(v=variable).read(stored.prefix).assert_consumed()
    return variable.numpy()[0]


def _data_file(stored):
    (file,) = stored.path.glob("ckpt.data-*")
    return file


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


@contextlib.contextmanager
def _read_only(path):
    """Within the block the process may not write to a folder."""
    path.chmod(0o500)
    is_root = not os.geteuid()  # who may write everywhere
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        path.chmod(0o700)


def test_folder_that_is_not_there_has_no_checkpoints(folder):
    assert folder.stored() == [] and not folder.path.exists()


def test_steps_are_sorted_as_numbers(folder):
    for step in (100, 9, 20):
        _write(folder, step)
    assert [stored.step for stored in folder.stored()] == [9, 20, 100]


def test_step_that_is_reached_twice_has_two_checkpoints(folder):
    _write(folder, 7, value=1.0)
    _write(folder, 7, value=2.0)
    first, second = folder.stored()
    assert (first.path.name, second.path.name) == ("step-7", "step-7-2")
    assert (_value(first), _value(second)) == (1.0, 2.0)


def test_writing_that_is_killed_leaves_no_checkpoint_and_is_cleared(folder):
    def killed(prefix):
        pathlib.Path(prefix).write_text("half")
        raise KeyboardInterrupt  # passes every handler, as a kill would

    with pytest.raises(KeyboardInterrupt):
        folder.write(7, killed, {})
    assert [path.name for path in folder.path.iterdir()] == ["step-7.new"]
    assert folder.stored() == []
    _write(folder, 8)
    assert [path.name for path in folder.path.iterdir()] == ["step-8"]


def test_whole_checkpoint_passes(folder):
    folder.verify(_write(folder, 7))


def test_truncated_file_is_named_with_its_sizes(folder):
    stored = _write(folder, 7)
    file = _data_file(stored)
    size = file.stat().st_size
    os.truncate(file, 5)
    with pytest.raises(DamagedCheckpoint) as error:
        folder.verify(stored)
    assert str(error.value) == f"{file} is torn: 5 of {size:,} bytes."


def test_missing_file_is_named(folder):
    stored = _write(folder, 7)
    (stored.path / "ckpt.index").unlink()
    with pytest.raises(DamagedCheckpoint, match="ckpt.index is missing"):
        folder.verify(stored)


def test_single_altered_bit_is_found(folder):
    stored = _write(folder, 7)
    file = _data_file(stored)
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match="not what was written to it"):
        folder.verify(stored)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "missing"),
        ("", "torn"),
        ('{"step": 7, "fi', "torn"),
        ("7", "torn"),
    ],
)
def test_broken_manifest_is_named(folder, content, message):
    stored = _write(folder, 7)
    manifest = stored.path / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_text(content)
    with pytest.raises(DamagedCheckpoint, match=f"manifest.json is {message}"):
        folder.verify(stored)
    assert folder.stored()[0].about == {}


def test_manifest_has_no_paths_of_this_machine(folder, tmp_path):
    stored = _write(folder, 7)
    text = (stored.path / "manifest.json").read_text()
    assert str(tmp_path) not in text
    assert sorted(json.loads(text)["files"]) == [
        "ckpt.data-00000-of-00001",
        "ckpt.index",
    ]


def test_full_disk_is_told_and_what_was_saved_is_kept(small_disk):
    folder = CheckpointFolder(small_disk / "checkpoints")
    stored = _write(folder, 1)
    with pytest.raises(CheckpointError, match="Step 2 .*o space left") as error:
        _write(folder, 2, size=100_000)  # 800 kB
    assert "\n" not in str(error.value)
    assert [path.name for path in folder.path.iterdir()] == ["step-1"]
    folder.verify(stored)
    assert _value(stored) == 1.0
    folder.verify(_write(folder, 3))  # there is room again


def test_disk_that_fills_up_with_the_last_bytes_is_told(folder, monkeypatch):
    # The manifest comes last. The write of the file system itself is faked.
    _write(folder, 1)

    def fill(file, text, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    monkeypatch.setattr(pathlib.Path, "write_text", fill)
    with pytest.raises(CheckpointError, match="No space left on device"):
        _write(folder, 2)
    monkeypatch.undo()
    (stored,) = folder.stored()
    folder.verify(stored)


def test_folder_without_permission_to_write_is_told(folder):
    stored = _write(folder, 1)
    with _read_only(folder.path):
        with pytest.raises(CheckpointError, match="Step 2 .*ermission denied"):
            _write(folder, 2)
    folder.verify(stored)
    assert folder.stored() == [stored]


def test_damaged_checkpoint_that_is_set_aside_no_longer_counts(folder):
    stored = _write(folder, 7)
    folder.set_aside(stored)
    assert folder.stored() == []
    assert [path.name for path in folder.path.iterdir()] == ["step-7.damaged"]


def test_checkpoints_that_are_not_ours_are_not_passed_over(folder):
    tf.train.Checkpoint(v=tf.Variable(1.0)).write(f"{folder.path}/ckpt-500")
    with pytest.raises(CheckpointError, match="version .*: ckpt-500.index"):
        folder.stored()
