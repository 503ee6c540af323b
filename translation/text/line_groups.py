"""Lines of files and pipes in groups, as they come.

What a program reads while it works: a group is as much as is worked on
together, and what comes before a fault is given first.
"""

import contextlib
import itertools

from moe_keras.paths import local_path
from translation.text.text_files import (
    CorpusError,
    is_stream,
    read_lines,
    whole_lines,
)

# Lines or pairs of files that are worked on together: those of like length
# go into one batch, so that more make fewer batches.
GROUP = 2000
# Bytes that are taken at once from standard input: what a pipe can hold.
_CHUNK = 1 << 16
# Names of it.
_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def line_groups(paths, stdin):
    """Lines in groups, as they come.

    Args:
        paths: List of str: files, plain or `.gz`, and pipes such as
            `<(command)` and `/dev/stdin`; `-` is standard input. None:
            standard input.
        stdin: File of bytes. Its lines, and those of a pipe, are given on as
            soon as they are whole, and the last one when the input ends.

    Returns:
        Iterator over lists of str. Bytes of a pipe that are not UTF-8 are read
        as U+FFFD.

    Raises:
        CorpusError: if there is no such file, and while it is iterated, if
            one cannot be read; what came before is given first.
    """
    paths = [
        path if path == "-" else local_path(path) for path in paths or ["-"]
    ]
    for path in paths:
        if not is_pipe(path) and not path.is_file():
            raise CorpusError(f"There is no file {path}.")
    return _groups_of(paths, stdin)


def is_pipe(path):
    """Whether a path is standard input, `-`, or another pipe."""
    return path == "-" or is_stream(path)


def _groups_of(paths, stdin):
    """Files that follow each other are joined; pipes are not."""
    for are_pipes, some in itertools.groupby(paths, is_pipe):
        if are_pipes:
            for path in some:
                yield from lines_of_pipe(path, stdin)
        else:
            lines = map(read_lines, some)
            yield from in_groups(itertools.chain.from_iterable(lines))


def lines_of_pipe(path, stdin):
    """Lists of whole lines of a pipe, as soon as they are there."""
    with contextlib.ExitStack() as stack:
        file = stdin
        if str(path) not in _STANDARD_INPUT:
            try:
                file = stack.enter_context(open(path, "rb"))
            except OSError as error:
                raise CorpusError(
                    f"{path} cannot be read: {error.strerror}."
                ) from error
        chunks = iter(lambda: file.read1(_CHUNK), b"")
        for lines in whole_lines(chunks, name_of(path)):
            text = lines.decode("utf-8", "replace").replace("\r", "")
            yield text.split("\n")


def name_of(path):
    """Return the name of a pipe in messages."""
    return "Standard input" if str(path) in _STANDARD_INPUT else path


def in_groups(items):
    """Lists of items; at an error, first of those before it."""
    group = []
    try:
        for item in items:
            group.append(item)
            if len(group) == GROUP:
                yield group
                group = []
    except CorpusError:
        if group:
            yield group
        raise
    if group:
        yield group
