"""A corpus without the pairs that filters drop."""

import functools
import itertools

import numpy as np
import tensorflow as tf

from translation.text.corpora.base import Corpus, CorpusSize
from translation.text.corpora.pair_filters import FilterReport
from translation.text.text_files import CorpusError

# Pairs that are looked at together: a step of numpy or of tf.data costs more
# than a pair.
_CHUNK = 4096


class FilteredCorpus(Corpus):
    """A corpus without the pairs that filters drop.

    The filters run once, before the corpus is used. A byte for each pair
    remembers whether it is kept, so every epoch has the same pairs, also after
    a run is resumed.

    Args:
        corpus: `Corpus`.
        filters: `PairFilters`. Corpora that share one drop what an earlier
            one has, in the order in which they are first used.
    """

    def __init__(self, corpus, filters):
        self.name = corpus.name
        self._corpus = corpus
        self._filters = filters

    @functools.cached_property
    def _result(self):
        """Find which pairs are kept, a bool array, and make the report."""
        # Dropped here: its memory of seen pairs is large.
        filters, self._filters = self._filters, None
        report = FilterReport(self.name)
        pairs = self._corpus.pairs()
        kept = [
            filters.keep(chunk, report)
            for chunk in iter(lambda: list(itertools.islice(pairs, _CHUNK)), [])
        ]
        return np.concatenate([np.zeros(0, bool), *kept]), report

    def pairs(self):
        kept, _ = self._result
        return itertools.compress(self._corpus.pairs(), kept)

    def dataset(self):
        kept = tf.constant(self._result[0])

        def select(number, pairs):
            begin = number * _CHUNK
            size = tf.size(pairs[0], tf.int64)
            is_kept = kept[begin : begin + size]
            return tuple(tf.boolean_mask(side, is_kept) for side in pairs)

        chunks = self._corpus.dataset().batch(_CHUNK).enumerate()
        return chunks.map(select).unbatch()

    def reports(self):
        return [self._result[1]]

    def check(self):
        _, report = self._result
        if not report.pairs:
            return self._corpus.check()  # says so
        if not report.kept:
            reasons = ", ".join(
                f"{count:,} {reason}"
                for reason, count in report.dropped.items()
            )
            raise CorpusError(
                f"The filters leave nothing of {self.name}: of "
                f"{report.pairs:,} pairs they drop {reasons}."
            )
        size = CorpusSize(report.kept, 0)
        self._contents = [{**size._asdict(), "characters": report.characters}]
        return size
