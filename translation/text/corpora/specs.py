"""Parses the text that names corpora: `NAME@WEIGHT`, joined by commas."""

import re
from typing import NamedTuple

from translation.text.text_files import CorpusError

_COMMA = re.compile(r"(?<!\\),")
_WEIGHTED = re.compile(r"(?P<name>.+)(?<!\\)@(?P<weight>\d+\.?\d*|\.\d+)")
_LAST_SLASH = re.compile(r"/+(?=@[\d.]+$|$)")
_ESCAPED = re.compile(r"\\([,@])")


class CorpusSpec(NamedTuple):
    """One corpus of a spec."""

    name: str  # without the weight, and without backslashes before , and @
    weight: float | None
    written: str  # as it stands in the spec

    @property
    def whole_name(self):
        """The name if what looks like the weight belonged to it."""
        return _ESCAPED.sub(r"\1", self.written)


def parse_spec(spec):
    r"""Splits a spec at its commas, and each part at the `@` of its weight.

    A comma or an `@` that belongs to a name has a backslash before it.

    Args:
        spec: str.

    Returns:
        List of `CorpusSpec`.

    Raises:
        CorpusError: if it names no corpus.

    Example:

    >>> [(part.name, part.weight) for part in parse_spec("a@0.7, b/c@0.3")]
    [('a', 0.7), ('b/c', 0.3)]
    >>> [(part.name, part.weight) for part in parse_spec(r"a\,b,news\@2019")]
    [('a,b', None), ('news@2019', None)]
    """
    written = [part.strip() for part in _COMMA.split(spec)]
    parts = [_parsed(part) for part in written if part]
    if not parts:
        raise CorpusError(
            "`spec` must name a corpus: phrasebook, a file.tsv, or the prefix "
            f"of two text files. Received: spec={spec!r}"
        )
    return parts


def _parsed(written):
    match = _WEIGHTED.fullmatch(written)
    name, weight = (
        (match["name"], match["weight"]) if match else (written, None)
    )
    return CorpusSpec(
        _ESCAPED.sub(r"\1", name),
        None if weight is None else float(weight),
        written,
    )


def hints(part, parts):
    """Say what a spec may have meant if a corpus of it is not there.

    Args:
        part: `CorpusSpec`, the one that is not there.
        parts: List of all `CorpusSpec`s of the spec.

    Returns:
        str, empty or a blank and sentences.
    """
    found = ""
    if part.weight is not None:
        found += f" @{part.weight:g} was read as its weight; {escaped(part)}."
    if len(parts) > 1:
        found += (
            " Commas join corpora; one that belongs to a name is written \\,."
        )
    return found


def escaped(part):
    """Say how to write a part whose `@` belongs to its name."""
    name, _, number = part.written.rpartition("@")
    return f"if it belongs to the name, write '{name}\\@{number}'"


def check_weights(parts, spec, split):
    """Refuses weights that say nothing, or not enough.

    Args:
        parts: List of `CorpusSpec`.
        spec: str, what they are from.
        split: str.

    Raises:
        CorpusError: for weights outside of training, of one corpus alone, of
            some corpora but not of others, and of zero.
    """
    weighted = [part for part in parts if part.weight is not None]
    if not weighted:
        return
    first = weighted[0]
    if split != "train":
        raise CorpusError(
            f"Weights such as @{first.weight:g} are for training alone, and "
            f"the {split} corpus is read once from end to end; "
            f"{escaped(first)}. Received: {spec}"
        )
    if len(parts) == 1:
        raise CorpusError(
            f"The weight @{first.weight:g} of a single corpus says nothing: "
            "leave it out; "
            f"{escaped(first)}. Received: {spec}"
        )
    if len(weighted) < len(parts) or not min(p.weight for p in weighted) > 0:
        raise CorpusError(
            "Give every corpus a weight above 0, as a@0.7,b@0.3, or none of "
            f"them; {escaped(first)}. Received: {spec}"
        )


def without_folders(spec):
    r"""The same spec with file names in place of paths.

    >>> without_folders("/home/me/a@2,~/b.tsv@1,tfds:wmt14_translate/fr-en@1")
    'a@2,b.tsv@1,tfds:wmt14_translate/fr-en@1'
    >>> without_folders("/home/me/news/@1,/home/me/more/")
    'news@1,more'
    """
    parts = (_LAST_SLASH.sub("", part.strip()) for part in _COMMA.split(spec))
    return ",".join(
        part if part.startswith("tfds:") else part.rpartition("/")[2]
        for part in parts
    )
