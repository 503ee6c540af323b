"""Paths that people give: `~` is expanded, and URLs are refused."""

import pathlib
import re

# A scheme has at least two letters. `pathlib` makes one slash of two.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def local_path(path):
    """The path of a file or folder on this machine.

    Args:
        path: str or path. `~` and `~USER` at its beginning stand for a home
            folder.

    Returns:
        `pathlib.Path`.

    Raises:
        ValueError: for a URL such as `gs://bucket/run`, which would otherwise
            become a local folder of that name.

    Example:

    >>> local_path("runs/mine").name
    'mine'
    >>> local_path("~/run") == pathlib.Path.home() / "run"
    True
    """
    if _URL.match(str(path)):
        raise ValueError(
            "Only paths of this machine are served, no URLs: copy the files "
            "here, or mount the bucket and give the path. Received: "
            f"{str(path)!r}"
        )
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:  # ~nobody
        raise ValueError(f"{path}: there is no such home folder.") from error
