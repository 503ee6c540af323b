"""One process at a time trains in a folder."""

import contextlib
import fcntl
import os
import socket

from trainers.engine.folder.files import FolderError


@contextlib.contextmanager
def locked(folder):
    """Context manager: no other process can have the lock of a folder.

    The kernel gives it back when the process ends, however it ends. A folder
    that was made for it, and got nothing else, is taken away again.

    Args:
        folder: `pathlib.Path`. The file `lock` in it says who has the lock.

    Raises:
        FolderError: if another process has it, or the folder cannot be
            written to.
    """
    path = folder / "lock"
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise FolderError(
            f"{folder} cannot be written to: {error.strerror}."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _check_is_there(path, file)
        except (BlockingIOError, FileNotFoundError) as error:
            file.seek(0)
            raise FolderError(
                f"{folder} is in use by {file.read().strip()}. Wait for it, "
                "or take another --model_dir."
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            if is_new and list(folder.iterdir()) == [path]:
                path.unlink()
                folder.rmdir()


def _check_is_there(path, file):
    """The process that had the lock may have taken it away meanwhile."""
    if not os.path.samestat(os.stat(path), os.fstat(file.fileno())):
        raise FileNotFoundError(path)
