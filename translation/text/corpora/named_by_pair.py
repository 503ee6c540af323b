"""Names of corpora with `{pair}` in them: one text for all pairs of a model.

`data/train.{pair}` stands for `data/train.en-fr`, however that is spelled, and
for `data/train.fr-en`, since both directions may have the same files.
"""

import itertools
import pathlib
import re

from translation.text.languages import LanguagePair, spellings
from translation.text.text_files import CorpusError

PAIR = "{pair}"


def pair_names(pair):
    """Lists how a name may write a pair, as `(text, is_swapped)`.

    Args:
        pair: `LanguagePair`.

    Returns:
        List of `(str, bool)`, first those that begin with the source.

    Example:

    >>> pair_names(LanguagePair("en", "fr"))[:2]
    [('en-fr', False), ('en_fr', False)]
    >>> ("fr-en", True) in pair_names(LanguagePair("en", "fr"))
    True
    """
    orders = [(pair, False)]
    if pair.source != pair.target:
        orders.append((LanguagePair(pair.target, pair.source), True))
    return [
        (f"{first}{hyphen}{second}", is_swapped)
        for (one, other), is_swapped in orders
        for first, second in itertools.product(spellings(one), spellings(other))
        for hyphen in "-_"
    ]


def open_named_by_pair(spec, pair, open_it):
    """Opens the corpus that a name with `{pair}` stands for.

    Args:
        spec: str.
        pair: `LanguagePair`.
        open_it: Function of a name without `{pair}`, and of whether its
            corpus has the target first, if it is one file of both; it returns
            a `Corpus` or raises `CorpusError`.

    Returns:
        `Corpus`.

    Raises:
        CorpusError: if there is none; it names what was looked for, and the
            pairs that are there. If one of two files is there, it names the
            other.
    """
    for name, is_swapped in pair_names(pair):
        if _has_files(spec.replace(PAIR, name)):
            return open_it(spec.replace(PAIR, name), is_swapped)
    if spec.startswith("tfds:"):
        return _first_that_opens(spec, pair, open_it)
    names = [spec.replace(PAIR, str(pair))]
    if pair.source != pair.target:
        names.append(spec.replace(PAIR, f"{pair.target}-{pair.source}"))
    if not spec.endswith((".tsv", ".tsv.gz")):
        names = [f"{name}.{pair.suffixes[0]}" for name in names]
    there = _pairs_beside(spec)
    hint = (
        f"there are pairs {', '.join(there)}" if there else "nor any other pair"
    )
    raise CorpusError(
        f"There is no corpus {spec} for {pair}: no {' or '.join(names)}, also "
        f"not with .gz or underscores; {hint}."
    )


def _first_that_opens(spec, pair, open_it):
    errors = []
    for name in (str(pair), f"{pair.target}-{pair.source}"):
        try:
            return open_it(spec.replace(PAIR, name), False)
        except CorpusError as error:
            errors.append(error)
    raise errors[0]


def _has_files(prefix):
    """Whether a file begins with a path, up to a dot or its end."""
    if prefix.startswith("tfds:"):
        return False
    path = pathlib.Path(prefix).expanduser()
    if path.is_file():
        return True
    folder = path.parent
    return folder.is_dir() and any(folder.glob(f"{_escaped(path.name)}.*"))


def _escaped(name):
    return re.sub(r"([\[*?])", r"[\1]", name)


def _pairs_beside(spec):
    """What stands for `{pair}` in the names that there are."""
    tag = r"[A-Za-z]{2,3}(?:[-_]\w{2,8})*"
    before, _, after = str(pathlib.Path(spec).expanduser()).partition(PAIR)
    folder, _, begin = before.rpartition("/")
    inner = after.partition("/")[0]
    name = re.compile(
        f"{re.escape(begin)}({tag}[-_]{tag}){re.escape(inner)}(?:[./].*)?"
    )
    place = pathlib.Path(folder or ("/" if before.startswith("/") else "."))
    there = [path.name for path in place.iterdir()] if place.is_dir() else []
    return sorted({m[1] for m in map(name.fullmatch, there) if m})
