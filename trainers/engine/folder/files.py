"""Files of a run: written in whole or left as they were."""

import json

from trainers.engine.checkpoints.files import flush_to_disk


class FolderError(ValueError):
    """The folder of a run lacks what is asked of it; a one-line message."""


def replace_file(path, write):
    """Replaces a file: all of it, or nothing if `write` fails.

    Args:
        path: `pathlib.Path`. Its folder is made if there is none.
        write: Function of the path to write to.

    Example:

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "runs" / "note.txt"
    >>> replace_file(path, lambda aside: aside.write_text("whole"))
    >>> path.read_text()
    'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.new")
    write(aside)
    flush_to_disk(aside)
    aside.replace(path)


def write_json(path, values):
    """Writes a JSON file that people can read, in place of an earlier one."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    replace_file(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def read_json(path):
    """Reads a JSON file; None if there is no such file.

    Raises:
        FolderError: if it is torn.
    """
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FolderError(
            f"{path} is torn: {error}. Delete it; the command that has "
            "trained the model writes it anew."
        ) from error
