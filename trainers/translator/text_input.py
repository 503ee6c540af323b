"""What the text modes read: lines and pairs, from files and pipes."""

import contextlib
import itertools

from moe_keras.paths import local_path
from translation.text.blanks import is_blank
from translation.text.corpora.corpus import open_corpus
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
    """Lines to be translated, in groups, as they come.

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
        if not _is_stream(path) and not path.is_file():
            raise CorpusError(f"There is no file {path}.")
    return _groups_of(paths, stdin)


def prefixed_groups(groups):
    """Splits lines into sources and prefixes, at a tab.

    Args:
        groups: Iterable of lists of str, as from `line_groups`. A line
            without a tab has the empty prefix, which leaves its translation
            free.

    Yields:
        Lists of `(source, prefix)`.

    Raises:
        CorpusError: at a line with several tabs; what came before is given
            first.

    Example:

    >>> list(prefixed_groups([["Hello!\\tBon", "Hello!"]]))
    [[('Hello!', 'Bon'), ('Hello!', '')]]
    """
    number = 0
    for group in groups:
        pairs = []
        for line in group:
            number += 1
            columns = line.split("\t")
            if len(columns) > 2:
                if pairs:
                    yield pairs
                raise CorpusError(
                    f"Line {number}: with --prefixes there are a source and "
                    "how its translation begins, with a tab between; found "
                    f"{len(columns)} columns."
                )
            pairs.append((columns[0], columns[1] if columns[1:] else ""))
        yield pairs


def pair_groups(specs, pair, stdin):
    """Pairs to be scored, in groups, as they come.

    Args:
        specs: List of str: corpora, as `trainers.nmt` takes them, and pipes;
            `-` is standard input. None: standard input. Lines of a pipe are
            source and translation with a tab between; a blank line is a pair
            of two empty texts.
        pair: str. Languages, as en-fr.
        stdin: File of bytes.

    Returns:
        Iterator over lists of `(source, translation)`.

    Raises:
        CorpusError: if there is no such corpus, and while it is iterated, at
            what is no pair; what came before is given first.
    """
    opened = [
        _pairs_of(spec, stdin)
        if _is_stream(spec)
        else _in_groups(open_corpus(spec, pair, "test").pairs())
        for spec in specs or ["-"]
    ]
    return itertools.chain.from_iterable(opened)


def _is_stream(path):
    return path == "-" or is_stream(path)


def _groups_of(paths, stdin):
    """Files that follow each other are joined; pipes are not."""
    for is_pipe, some in itertools.groupby(paths, _is_stream):
        if is_pipe:
            for path in some:
                yield from _lines_of(path, stdin)
        else:
            lines = map(read_lines, some)
            yield from _in_groups(itertools.chain.from_iterable(lines))


def _pairs_of(path, stdin):
    number = 0
    for lines in _lines_of(path, stdin):
        pairs = []
        for line in lines:
            number += 1
            columns = ["", ""] if is_blank(line) else line.split("\t")
            if len(columns) != 2:
                if pairs:
                    yield pairs
                raise CorpusError(
                    f"{_name(path)}, line {number}: there must be two "
                    "columns, source and translation with a tab between; "
                    f"found {len(columns)}."
                )
            pairs.append(tuple(columns))
        yield pairs


def _lines_of(path, stdin):
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
        for lines in whole_lines(chunks, _name(path)):
            text = lines.decode("utf-8", "replace").replace("\r", "")
            yield text.split("\n")


def _name(path):
    return "Standard input" if str(path) in _STANDARD_INPUT else path


def _in_groups(items):
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
