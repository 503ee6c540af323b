"""The corpora of a model of several directions, mixed into one."""

import functools

import tensorflow as tf

from translation.text.corpora.corpus import (
    join_parts,
    open_corpus,
    open_part,
)
from translation.text.corpora.joined import JoinedCorpus, MixedCorpus
from translation.text.corpora.mixing import Mixing
from translation.text.corpora.specs import check_weights, parse_spec
from translation.text.directions import Directions, parse_directions
from translation.text.text_files import CorpusError


class MultilingualCorpus(MixedCorpus):
    """Sentence pairs of several directions.

    Its datasets have a third element, the number of the direction: a scalar
    int32, its place in `directions`. Training draws each pair from one
    direction, by chance; epochs are each direction's own. All other methods
    read one direction after the other.

    Args:
        directions: `Directions`.
        corpora: List of `Corpus`, one for each direction.
        mixing: `Mixing`.
        name: str, for messages.
        notes: Sequence of str, what people should know of the corpora.

    Attributes:
        directions: `Directions`.
        weights: List of float, the share of each direction in training.
        notes: As above.

    Example:

    >>> corpus = open_directions("phrasebook:9", "en-fr,de-en", "dev")
    >>> corpus.weights, corpus.check().pairs
    ([0.5, 0.5], 18)
    >>> corpus.dataset().element_spec[2]
    TensorSpec(shape=(), dtype=tf.int32, name=None)
    """

    def __init__(self, directions, corpora, mixing, name, notes=()):
        JoinedCorpus.__init__(self, corpora)
        self.name = name
        self.directions = Directions(directions)
        self.notes = tuple(notes)
        self._mixing = mixing

    @functools.cached_property
    def weights(self):
        sizes = {
            str(direction): sum(part["pairs"] for part in corpus.contents())
            for direction, corpus in self.by_direction()
        }
        return list(self._mixing.shares(sizes).values())

    def by_direction(self):
        """List of `(LanguagePair, Corpus)`."""
        return list(zip(self.directions, self.corpora, strict=True))

    def parts(self):
        return [part for corpus in self.corpora for part in corpus.parts()]

    def dataset(self):
        return functools.reduce(
            lambda joined, dataset: joined.concatenate(dataset),
            self._marked([corpus.dataset() for corpus in self.corpora]),
        )

    def sample(self, size, seed):
        """As of `MixedCorpus`; each direction draws with a seed of its own.

        So two directions of the same files do not draw the same sentences.
        """
        return [
            sentence
            for number, (corpus, weight) in enumerate(
                zip(self.corpora, self.weights, strict=True)
            )
            for sentence in corpus.sample(
                max(1, round(size * weight)), seed + number
            )
        ]

    def training_datasets(self, shuffle_buffer, seed):
        return self._marked(super().training_datasets(shuffle_buffer, seed))

    def _marked(self, datasets):
        """Datasets of pairs with the number of their direction."""

        def marked(number, dataset):
            direction = tf.data.Dataset.from_tensors(
                tf.constant(number, tf.int32)
            ).repeat()
            zipped = tf.data.Dataset.zip(dataset, direction)
            return zipped.map(lambda pair, direction: (*pair, direction))

        return [marked(*numbered) for numbered in enumerate(datasets)]


def open_directions(
    spec,
    pair,
    split="train",
    seed=0,
    filters=None,
    mixing=None,
    is_marked=False,
):
    """Finds the corpora of all directions of a model.

    Args:
        spec: str, as of `open_corpus`. Of several directions each corpus is
            looked for in each: `data/train.{pair}`, or `data/train` where all
            languages have the same sentences, line by line. One of several
            corpora may lack directions, if another has them.
        pair: str, `LanguagePair` or `Directions`; see `parse_directions`.
        split, seed, filters: As of `open_corpus`. Each direction has filters
            of its own.
        mixing: `Mixing`, how training mixes directions; None for
            proportional.
        is_marked: bool. Whether a single direction is marked as well, for a
            model that was trained in several.

    Returns:
        A `MultilingualCorpus`; a plain `Corpus` for a single direction that
        is not marked.

    Raises:
        CorpusError: if a direction has no corpus.
    """
    try:
        directions = parse_directions(pair)
    except ValueError as error:
        raise CorpusError(str(error)) from error
    if directions.is_one and not is_marked:
        return open_corpus(spec, directions[0], split, seed, filters)
    parts = parse_spec(spec)
    check_weights(parts, spec, split)
    found, notes = _find_all(parts, directions, split, seed)
    corpora = []
    for direction, corpus_of in found.items():
        if not corpus_of:
            raise CorpusError(
                f"None of the corpora {spec} has sentences for {direction}: "
                f"add one that has, or leave {direction} out of --pair."
            )
        corpora.append(join_parts(corpus_of, direction, filters))
    many = f"{len(directions)} directions"
    name = f"{spec} ({directions if directions.is_one else many})"
    return MultilingualCorpus(
        directions, corpora, mixing or Mixing(), name, notes
    )


def _find_all(parts, directions, split, seed):
    """Finds the parts of a spec that each direction has.

    Returns:
        dict of `(CorpusSpec, Corpus)` lists by direction, and notes on those
        that are not there.

    Raises:
        CorpusError: if a part has no direction, or the only one lacks any.
    """
    found, notes = {direction: [] for direction in directions}, []
    for part in parts:
        errors = {}
        for direction in directions:
            try:
                corpus = open_part(part, parts, direction, split, seed)
            except CorpusError as error:
                errors[direction] = error
                continue
            corpus.name += f" ({direction})"
            found[direction].append((part, corpus))
        if len(errors) == len(directions) or (errors and len(parts) == 1):
            raise next(iter(errors.values()))
        if errors:
            lacking = ", ".join(map(str, errors))
            notes.append(f"{part.name} has nothing for {lacking}.")
    return found, notes
