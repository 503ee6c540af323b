"""Reads lines and pairs for the text modes, from files and pipes."""

import itertools

from translation.text.blanks import is_blank
from translation.text.corpora.corpus import open_corpus
from translation.text.line_groups import (
    in_groups,
    is_pipe,
    lines_of_pipe,
    name_of,
)
from translation.text.text_files import CorpusError


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
    """Reads pairs to score, in groups, as they come.

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
        if is_pipe(spec)
        else in_groups(open_corpus(spec, pair, "test").pairs())
        for spec in specs or ["-"]
    ]
    return itertools.chain.from_iterable(opened)


def _pairs_of(path, stdin):
    number = 0
    for lines in lines_of_pipe(path, stdin):
        pairs = []
        for line in lines:
            number += 1
            columns = ["", ""] if is_blank(line) else line.split("\t")
            if len(columns) != 2:
                if pairs:
                    yield pairs
                raise CorpusError(
                    f"{name_of(path)}, line {number}: there must be two "
                    "columns, source and translation with a tab between; "
                    f"found {len(columns)}."
                )
            pairs.append(tuple(columns))
        yield pairs
