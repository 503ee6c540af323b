"""Checkpoints that are whole or not there: a folder for each.

    checkpoints/step-500/
        ckpt.index, ckpt.data-...    what TensorFlow writes
        manifest.json                what it is, with size and SHA-256 of each

The folder is written under another name, flushed to the disk and then
renamed, so that a program may be killed at any moment. What the disk does to
it afterwards is found by `CheckpointFolder.verify`, which reads everything
once.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
from typing import NamedTuple

import tensorflow as tf

_MANIFEST = "manifest.json"
# A step that is saved again, because it was reached twice, gets a number.
_NAME = re.compile(r"step-(\d+)(?:-(\d+))?")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or used; the message is one line."""


class DamagedCheckpoint(CheckpointError):
    """A file of a checkpoint is missing, torn or altered."""


class Stored(NamedTuple):
    """A checkpoint on the disk.

    Attributes:
        path: `pathlib.Path` of its folder.
        step: int.
        about: dict, what was said of it when it was written; empty if its
            manifest cannot be read.
    """

    path: pathlib.Path
    step: int
    about: dict

    @property
    def prefix(self):
        """Path prefix of the files, as TensorFlow takes it."""
        return str(self.path / "ckpt")


class CheckpointFolder:
    """A folder of checkpoints.

    Args:
        path: str or path. Made when something is first written.

    Example:

    >>> import tempfile
    >>> folder = CheckpointFolder(tempfile.mkdtemp())
    >>> variable = tf.Variable(3.0)
    >>> stored = folder.write(
    ...     7, tf.train.Checkpoint(v=variable).write, {"score": 1.5}
    ... )
    >>> folder.verify(stored)
    >>> [(s.path.name, s.step, s.about) for s in folder.stored()]
    [('step-7', 7, {'score': 1.5})]
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def stored(self):
        """Lists all checkpoints, damaged ones too, oldest first.

        Raises:
            CheckpointError: if the folder has some that are not ours.
        """
        paths = list(self.path.iterdir()) if self.path.is_dir() else []
        foreign = [p.name for p in paths if p.suffix == ".index"]
        if foreign:
            raise CheckpointError(
                f"{self.path} has checkpoints that were not written by this "
                f"version of the program: {', '.join(sorted(foreign))}. Move "
                "them away."
            )
        named = [(_NAME.fullmatch(path.name), path) for path in paths]
        found = sorted(
            (int(name[1]), int(name[2] or 1), path)
            for name, path in named
            if name
        )
        return [Stored(path, step, _about(path)) for step, _, path in found]

    def write(self, step, write, about):
        """Writes a checkpoint: all of it or nothing.

        Args:
            step: int.
            write: Function that is given a path and writes files that begin
                with it, such as `tf.train.Checkpoint.write`.
            about: dict of what JSON can hold, kept in the manifest.

        Returns:
            `Stored`.

        Raises:
            CheckpointError: when the disk is full, say, or the folder cannot
                be written to.
        """
        try:
            return self._write(step, write, about)
        except (OSError, tf.errors.OpError) as error:
            self._clear()
            raise CheckpointError(
                f"Step {step} cannot be saved in {self.path}: "
                f"{reason(error)}. What was saved before is kept; see to the "
                "disk and give the same command again."
            ) from error

    def _write(self, step, write, about):
        self.path.mkdir(parents=True, exist_ok=True)
        self._clear()
        path = self._free_path(step)
        aside = path.with_name(f"{path.name}.new")
        aside.mkdir()
        write(str(aside / "ckpt"))
        files = {file.name: _fingerprint(file) for file in aside.iterdir()}
        manifest = {"step": step, "about": about, "files": files}
        (aside / _MANIFEST).write_text(json.dumps(manifest, indent=2))
        for file in (*aside.iterdir(), aside):
            flush_to_disk(file)
        aside.rename(path)
        flush_to_disk(self.path)
        return Stored(path, step, about)

    def _clear(self):
        """Deletes leftovers of writes that were interrupted."""
        with contextlib.suppress(OSError):  # the folder may be out of reach
            for leftover in self.path.glob("*.new"):
                shutil.rmtree(leftover, ignore_errors=True)

    def verify(self, stored):
        """Reads a checkpoint in full and compares it with its manifest.

        Raises:
            DamagedCheckpoint: naming the first file that is not as it was
                written.
        """
        manifest_path = stored.path / _MANIFEST
        try:
            files = json.loads(manifest_path.read_text())["files"]
        except FileNotFoundError as error:
            raise DamagedCheckpoint(f"{manifest_path} is missing.") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DamagedCheckpoint(f"{manifest_path} is torn.") from error
        for name, written in files.items():
            _compare(stored.path / name, written)

    def set_aside(self, stored, why="damaged"):
        """Renames a checkpoint so that it no longer counts as one.

        Args:
            stored: `Stored`.
            why: str. Stands behind its name from now on.

        Returns:
            Its new path.
        """
        name = f"{stored.path.name}.{why}"
        target, number = stored.path.with_name(name), 1
        while target.exists():
            number += 1
            target = stored.path.with_name(f"{name}-{number}")
        return stored.path.rename(target)

    def remove(self, stored):
        """Deletes a checkpoint; renamed first, it never counts half deleted."""
        aside = stored.path.with_name(f"{stored.path.name}.new")
        stored.path.rename(aside)
        shutil.rmtree(aside)

    def _free_path(self, step):
        name = f"step-{step}"
        number = 1
        while (path := self.path / name).exists():
            number += 1
            name = f"step-{step}-{number}"
        return path


def flush_to_disk(path):
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fingerprint(file):
    with open(file, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def _compare(file, written):
    """Raises if a file is not what its manifest says."""
    if not file.exists():
        raise DamagedCheckpoint(f"{file} is missing.")
    size = file.stat().st_size
    if size != written["bytes"]:
        raise DamagedCheckpoint(
            f"{file} is torn: {size:,} of {written['bytes']:,} bytes."
        )
    if _fingerprint(file) != written:
        raise DamagedCheckpoint(f"{file} is not what was written to it.")


def _about(path):
    try:
        return json.loads((path / _MANIFEST).read_text())["about"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def reason(error):
    """Says what went wrong with a file, in the operating system's words.

    Args:
        error: `OSError`, or the `tf.errors.OpError` that stands for one.

    Returns:
        One line of str.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    message = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", error.message)
    lines = message.splitlines()
    return lines[0].rstrip(".")
