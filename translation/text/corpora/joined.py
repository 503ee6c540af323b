"""Several corpora as one: after each other, or mixed by weights."""

import functools
import itertools

import tensorflow as tf

from translation.text.corpora.base import Corpus, CorpusSize


class JoinedCorpus(Corpus):
    """Several corpora, one after the other.

    Training mixes no farther than its shuffle buffer reaches.

    Args:
        corpora: list of `Corpus`.
    """

    def __init__(self, corpora):
        self.corpora = list(corpora)
        self.name = ", ".join(corpus.name for corpus in self.corpora)

    def pairs(self):
        return itertools.chain.from_iterable(
            corpus.pairs() for corpus in self.corpora
        )

    def dataset(self):
        return functools.reduce(
            lambda joined, dataset: joined.concatenate(dataset),
            [corpus.dataset() for corpus in self.corpora],
        )

    def reports(self):
        return [r for corpus in self.corpora for r in corpus.reports()]

    def check(self):
        sizes = [corpus.check() for corpus in self.corpora]
        return CorpusSize(*(sum(column) for column in zip(*sizes, strict=True)))

    def parts(self):
        return self.corpora

    def contents(self):
        return [part for c in self.corpora for part in c.contents()]


class MixedCorpus(JoinedCorpus):
    """Several corpora, mixed in training by their weights.

    Training draws each pair from one corpus, by chance, and a corpus that is
    used up begins again while the others go on: an epoch is each corpus's
    own. All other methods read one corpus after the other, each once.

    Args:
        corpora: list of `Corpus`.
        weights: list of float above 0, in any unit.
    """

    def __init__(self, corpora, weights):
        super().__init__(corpora)
        self.weights = [weight / sum(weights) for weight in weights]

    def sample(self, size, seed):
        """As of `Corpus`, but corpora are mixed by their weights.

        One that has fewer sentences gives all of them.
        """
        return [
            sentence
            for corpus, weight in zip(self.corpora, self.weights, strict=True)
            for sentence in corpus.sample(max(1, round(size * weight)), seed)
        ]

    def training_dataset(self, shuffle_buffer, seed):
        return tf.data.Dataset.sample_from_datasets(
            self.training_datasets(shuffle_buffer, seed),
            self.weights,
            seed=seed,
        )

    def training_datasets(self, shuffle_buffer, seed):
        """The same of each corpus: a list; they share the buffer."""
        return [
            corpus.training_dataset(
                max(1, round(shuffle_buffer * weight)), seed
            )
            for corpus, weight in zip(self.corpora, self.weights, strict=True)
        ]
