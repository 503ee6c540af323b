"""Rules that leave pairs out of a training corpus, and say which and why.

N: pairs that are looked at together
"""

import dataclasses
import functools

import numpy as np

from translation.base_corpus import BLANK
from translation.languages import parse_pair
from translation.scripts import script_share, scripts_of
from translation.seen import SeenPairs

# Pairs that a report shows for each rule, and how much of each sentence.
_EXAMPLES = 3
_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class FilterOptions:
    """Which pairs are left out of training; at first only empty ones."""

    # Characters on either side; 0: any number.
    max_characters: int = 0
    # Characters of the longer side for each of the shorter; 0: any.
    max_ratio: float = 0.0
    # Pairs whose two sides are the same.
    drop_identical: bool = False
    # Share of the letters of each side that its language's scripts must
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
            self._rules[reason] = functools.partial(_is_uneven, limit)
        if options.drop_identical:
            self._rules["two sides alike"] = _is_identical
        if options.min_script_share:
            share = options.min_script_share
            scripts = [scripts_of(code) for code in parse_pair(str(pair))]
            reason = f"under {share:.0%} of letters in the language's script"
            self._rules[reason] = functools.partial(_is_foreign, share, scripts)
        if options.drop_duplicates:
            self._rules["a pair seen before"] = SeenPairs().add

    def keep(self, pairs, report):
        """Decides on the next pairs of a corpus.

        Args:
            pairs: list of N pairs of str.
            report: `FilterReport` of the corpus; what is found is added.

        Returns:
            bool array `(N,)`.
        """
        kept = np.arange(len(pairs))
        sources, targets = zip(*pairs, strict=True)
        for reason, rule in self._rules.items():
            breaks = np.asarray(rule(sources, targets), bool)
            if not breaks.any():
                continue
            report.add(reason, kept[breaks], pairs)
            kept = kept[~breaks]
            if not len(kept):
                break
            sources, targets = zip(*(pairs[i] for i in kept), strict=True)
        report.pairs += len(pairs)
        report.kept += len(kept)
        is_kept_N = np.zeros(len(pairs), bool)
        is_kept_N[kept] = True
        return is_kept_N


class FilterReport:
    """What was dropped from one corpus.

    Attributes:
        name: str. Of the corpus.
        pairs: int. How many were read.
        kept: int. How many of them were kept.
        dropped: dict from the reason to the number of pairs.
        examples: dict from the reason to a few `(number, source, target)`,
            numbers from 1.
    """

    def __init__(self, name):
        self.name = name
        self.pairs = self.kept = 0
        self.dropped = {}
        self.examples = {}

    def add(self, reason, places, pairs):
        """Counts pairs that break a rule.

        Args:
            reason: str.
            places: list of int, where they are in `pairs`.
            pairs: list of the pairs that follow the `self.pairs` before.
        """
        self.dropped[reason] = self.dropped.get(reason, 0) + len(places)
        examples = self.examples.setdefault(reason, [])
        for place in places[: _EXAMPLES - len(examples)]:
            number = self.pairs + int(place) + 1
            examples.append((number, *map(_shortened, pairs[place])))

    def lines(self):
        """The report in lines of text."""
        share = self.kept / max(self.pairs, 1)
        yield (
            f"{self.name}: {self.kept:,} of {self.pairs:,} pairs are kept "
            f"({share:.1%})."
        )
        for reason, count in self.dropped.items():
            number, source, target = self.examples[reason][0]
            yield (
                f"  {count:,} {reason}, such as pair {number:,}: "
                f"{source} | {target}"
            )


def _shortened(text):
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ..."


def _lengths(texts):
    """Characters of each, blanks around it apart: int64 array `(N,)`."""
    lengths = (len(text.strip(BLANK)) for text in texts)
    return np.fromiter(lengths, np.int64, len(texts))


def _is_empty(sources, targets):
    return np.minimum(_lengths(sources), _lengths(targets)) == 0


def _is_long(limit, sources, targets):
    return np.maximum(_lengths(sources), _lengths(targets)) > limit


def _is_uneven(limit, sources, targets):
    source_N, target_N = _lengths(sources), _lengths(targets)
    shorter_N = np.minimum(source_N, target_N)
    return np.maximum(source_N, target_N) > limit * shorter_N


def _is_identical(sources, targets):
    return [
        source.strip(BLANK) == target.strip(BLANK)
        for source, target in zip(sources, targets, strict=True)
    ]


def _is_foreign(share, scripts, sources, targets):
    of_source, of_target = scripts
    return [
        script_share(source, of_source) < share
        or script_share(target, of_target) < share
        for source, target in zip(sources, targets, strict=True)
    ]
