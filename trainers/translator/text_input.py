"""Reads lines and pairs for the text modes, from files and pipes."""

import functools
import itertools
from typing import NamedTuple

from translation.text.blanks import is_blank
from translation.text.corpora.corpus import open_corpus
from translation.text.line_groups import (
    in_groups,
    is_pipe,
    lines_of_pipe,
    name_of,
)
from translation.text.text_files import CorpusError


class TextLine(NamedTuple):
    """A line to translate."""

    source: str
    prefix: str = ""  # how its translation begins
    target: str | None = None  # language; None is that of all lines


def columned_groups(groups, prefixes=False, target_of=None):
    """Splits lines into their columns, at tabs.

    Args:
        groups: Iterable of lists of str, as from `line_groups`.
        prefixes: bool. Whether there may be a prefix behind the source.
            Without it, its translation is left free.
        target_of: Function from the column in front of the source to the
            target language, which may raise `ValueError`; None where there is
            no such column.

    Returns:
        Iterator over lists of `TextLine`. A blank line is a blank source.

    Raises:
        CorpusError: while it is iterated, at a line with other columns; what
            came before is given first.

    Example:

    >>> list(columned_groups([["Hello!\\tBon", "Hello!"]], prefixes=True))
    [[TextLine(source='Hello!', prefix='Bon', target=None), \
TextLine(source='Hello!', prefix='', target=None)]]
    """
    return _each(
        groups,
        functools.partial(_columns, prefixes=prefixes, target_of=target_of),
    )


def _columns(text, prefixes, target_of):
    if target_of is not None and is_blank(text):
        return TextLine("")
    columns = text.split("\t")
    names = [
        *(["the target language"] if target_of else []),
        "a source",
        *(["how its translation begins"] if prefixes else []),
    ]
    least = len(names) - prefixes  # a prefix may be left out
    if not least <= len(columns) <= len(names):
        raise ValueError(
            f"there must be {' and '.join(names)}, with a tab between; found "
            f"{len(columns)} columns."
        )
    target = target_of(columns.pop(0)) if target_of else None
    return TextLine(columns[0], columns[1] if columns[1:] else "", target)


def targeted_pairs(groups, target_of):
    """Splits lines into target languages, sources and translations.

    Args:
        groups: Iterable of lists of str, as from `line_groups`: three columns
            with tabs between; a blank line is a pair of two empty texts.
        target_of: Function from the first column to the target language,
            which may raise `ValueError`.

    Returns:
        Iterator over lists of `(source, translation, target language)`.

    Raises:
        CorpusError: while it is iterated, at a line with other columns; what
            came before is given first.
    """

    def pair_of(text):
        columns = ["", "", ""] if is_blank(text) else text.split("\t")
        if len(columns) != 3:
            raise ValueError(
                "there must be three columns, target language, source and "
                f"translation with tabs between; found {len(columns)}."
            )
        return columns[1], columns[2], target_of(columns[0])

    return _each(groups, pair_of)


def _each(groups, read):
    """What a function makes of each line; before an error, those so far."""
    number = 0
    for group in groups:
        found = []
        for text in group:
            number += 1
            try:
                found.append(read(text))
            except ValueError as error:
                if found:
                    yield found
                raise CorpusError(f"Line {number}: {error}") from error
        yield found


def pair_groups(specs, pair, stdin):
    """Reads pairs to score, in groups, as they come.

    Args:
        specs: List of str: corpora, as `trainers.nmt` takes them, and pipes;
            `-` is standard input. None: standard input. Lines of a pipe are
            source and translation with a tab between; a blank line is a pair
            of two empty texts.
        pair: str or `LanguagePair`, the languages of corpora; None if the
            source language is not known, which pipes do without.
        stdin: File of bytes.

    Returns:
        Iterator over lists of `(source, translation)`.

    Raises:
        CorpusError: if there is no such corpus, and while it is iterated, at
            what is no pair; what came before is given first.
    """
    opened = []
    for spec in specs or ["-"]:
        if is_pipe(spec):
            opened.append(_pairs_of(spec, stdin))
            continue
        if pair is None:
            raise CorpusError(
                f"--source must say from which language {spec} is translated."
            )
        corpus = open_corpus(spec, pair, "test")
        opened.append(in_groups(corpus.pairs()))
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
