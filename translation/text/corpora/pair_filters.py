"""Rules that leave pairs out of a training corpus, and say which and why.

N: pairs that are looked at together
"""

import dataclasses
import functools
import itertools
import operator
import unicodedata

import numpy as np

from translation.text.blanks import is_blank
from translation.text.corpora.base import MARGIN
from translation.text.corpora.seen import SeenPairs
from translation.text.languages import parse_pair
from translation.text.scripts import is_foreign, scripts_of

# Pairs that a report shows for each rule, and how much of each sentence.
_EXAMPLES = 3
_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class FilterOptions:
    """Rules that leave pairs out of training; by default only empty ones."""

    # Characters on either side; 0: any number.
    max_characters: int = 0
    # Characters of the longer side for each of the shorter; 0: any.
    max_ratio: float = 0.0
    # What a wide character counts there: Chinese and Japanese ones and Korean
    # syllables stand for about two letters.
    wide_characters: float = 1.0
    # Pairs whose two sides are the same.
    drop_identical: bool = False
    # Fraction of the letters of each side that its language's scripts must
    # have at least; 0: any.
    min_script_share: float = 0.0
    # Pairs that came before, also in an earlier corpus of several.
    drop_duplicates: bool = False

    def __post_init__(self):
        if self.max_characters < 0:
            raise ValueError(
                "`max_characters` must not be negative. "
                f"Received: max_characters={self.max_characters}"
            )
        if self.max_ratio and self.max_ratio < 1:
            raise ValueError(
                "`max_ratio` must be at least 1, or 0 for any. "
                f"Received: max_ratio={self.max_ratio}"
            )
        if not self.wide_characters > 0:
            raise ValueError(
                "`wide_characters` must be above 0. "
                f"Received: wide_characters={self.wide_characters}"
            )
        if not 0 <= self.min_script_share <= 1:
            raise ValueError(
                "`min_script_share` must be between 0 and 1. "
                f"Received: min_script_share={self.min_script_share}"
            )


class PairFilters:
    """Applies the rules of some options, in their order.

    A pair is dropped by the first rule that it breaks. The rule about
    duplicates remembers, so the same object serves several corpora that must
    not repeat each other.

    Args:
        options: `FilterOptions`.
        pair: str or `LanguagePair`. Such as `en-fr`.

    Raises:
        CorpusError: if a script is asked for that is not known.

    Example:

    >>> filters = PairFilters(FilterOptions(max_ratio=2), "en-fr")
    >>> report = FilterReport("a corpus")
    >>> filters.keep([("a cat", "un chat"), ("a", "rien du tout")], report)
    array([ True, False])
    >>> print(*report.lines(), sep="\\n")
    a corpus: 1 of 2 pairs are kept (50.0%).
      1 one side over 2 times as long, such as pair 2: a | rien du tout
    """

    def __init__(self, options, pair):
        self._rules = {"an empty side": _is_empty}
        if options.max_characters:
            reason = f"over {options.max_characters} characters"
            limit = options.max_characters
            self._rules[reason] = functools.partial(_is_long, limit)
        if options.max_ratio:
            reason = f"one side over {options.max_ratio:g} times as long"
            limit = options.max_ratio
            self._rules[reason] = functools.partial(
                _is_uneven, limit, options.wide_characters
            )
        if options.drop_identical:
            self._rules["two sides alike"] = _is_identical
        if options.min_script_share:
            fraction = options.min_script_share
            scripts = [scripts_of(code) for code in parse_pair(pair)]
            reason = f"under {fraction:.0%} of letters in the language's script"
            self._rules[reason] = functools.partial(
                _is_foreign, fraction, scripts
            )
        self._seen = SeenPairs() if options.drop_duplicates else None

    def keep(self, pairs, report):
        """Decides on the next pairs of a corpus.

        Args:
            pairs: list of N pairs of str.
            report: `FilterReport` of the corpus; what is found is added.

        Returns:
            bool array `(N,)`.
        """
        chunk = _Chunk(pairs)
        is_kept_N = np.ones(len(pairs), bool)
        for reason, rule in self._rules.items():
            places = np.flatnonzero(is_kept_N & rule(chunk))
            report.add(reason, places, pairs)
            is_kept_N[places] = False
        if self._seen:
            places = np.flatnonzero(is_kept_N)
            was_seen = self._seen.add(
                list(itertools.compress(chunk.sources, is_kept_N)),
                list(itertools.compress(chunk.targets, is_kept_N)),
            )
            report.add("a pair seen before", places[was_seen], pairs)
            is_kept_N[places[was_seen]] = False
        report.pairs += len(pairs)
        report.kept += int(is_kept_N.sum())
        report.characters += int(chunk.both_N[is_kept_N].sum())
        return is_kept_N


class FilterReport:
    """Counts of what was dropped from one corpus.

    Attributes:
        name: str. Of the corpus.
        pairs: int. How many were read.
        kept: int. How many of them were kept.
        characters: int. Of these, both sides, blanks around them not counted.
        dropped: dict from the reason to the number of pairs.
        examples: dict from the reason to a few `(number, source, target)`,
            numbers from 1.
    """

    def __init__(self, name):
        self.name = name
        self.pairs = self.kept = self.characters = 0
        self.dropped = {}
        self.examples = {}

    def add(self, reason, places, pairs):
        """Counts pairs that break a rule.

        Args:
            reason: str.
            places: list of int, where they are in `pairs`.
            pairs: list of the pairs that follow the `self.pairs` before.
        """
        if not len(places):
            return
        self.dropped[reason] = self.dropped.get(reason, 0) + len(places)
        examples = self.examples.setdefault(reason, [])
        for place in places[: _EXAMPLES - len(examples)]:
            number = self.pairs + int(place) + 1
            examples.append((number, *map(_shortened, pairs[place])))

    def lines(self):
        """The report in lines of text."""
        fraction = self.kept / max(self.pairs, 1)
        yield (
            f"{self.name}: {self.kept:,} of {self.pairs:,} pairs are kept "
            f"({fraction:.1%})."
        )
        for reason, count in self.dropped.items():
            number, source, target = self.examples[reason][0]
            yield (
                f"  {count:,} {reason}, such as pair {number:,}: "
                f"{source} | {target}"
            )


def _shortened(text):
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ..."


class _Chunk:
    """N pairs without the blanks around them, and their lengths."""

    def __init__(self, pairs):
        # By functions of C alone, since it is done for every pair.
        sides = zip(*pairs, strict=True)
        self.sources, self.targets = (
            list(map(str.strip, side, itertools.repeat(MARGIN)))
            for side in sides
        )
        source_N, target_N = (
            np.fromiter(map(len, side), np.int64, len(pairs))
            for side in (self.sources, self.targets)
        )
        self.both_N = source_N + target_N
        self.shorter_N = np.minimum(source_N, target_N)
        self.longer_N = np.maximum(source_N, target_N)


def _is_empty(chunk):
    """Whether a side is blank: a length above 0 may be of blanks alone."""
    is_blank_N = [
        is_blank(source) or is_blank(target)
        for source, target in zip(chunk.sources, chunk.targets, strict=True)
    ]
    return np.array(is_blank_N, bool)


def _is_long(limit, chunk):
    return chunk.longer_N > limit


def _is_uneven(limit, wide_characters, chunk):
    if wide_characters == 1:
        return chunk.longer_N > limit * chunk.shorter_N
    source_N, target_N = (
        np.array([_width(text, wide_characters) for text in side], float)
        for side in (chunk.sources, chunk.targets)
    )
    longer_N, shorter_N = (
        np.maximum(source_N, target_N),
        np.minimum(source_N, target_N),
    )
    return longer_N > limit * shorter_N


def _width(text, wide_characters):
    """Characters of a text, wide ones counted as so many."""
    if text.isascii():
        return len(text)
    wide = sum(map(_is_wide, text))
    return len(text) + (wide_characters - 1) * wide


@functools.cache
def _is_wide(character):
    """Whether Unicode has it twice as wide as a Latin letter."""
    return unicodedata.east_asian_width(character) in "WF"


def _is_identical(chunk):
    alike = map(operator.eq, chunk.sources, chunk.targets)
    return np.fromiter(alike, bool, len(chunk.sources))


def _is_foreign(fraction, scripts, chunk):
    of_source, of_target = scripts
    return is_foreign(chunk.sources, of_source, fraction) | is_foreign(
        chunk.targets, of_target, fraction
    )
