"""Base class of all corpora: streams of sentence pairs, read anew each time."""

import hashlib
import itertools
import json
from typing import NamedTuple

from translation.text.blanks import is_blank
from translation.text.corpora.reservoir import reservoir
from translation.text.text_files import CorpusError

# Around a sentence, these are no characters of it.
MARGIN = " \t\v\f"


class CorpusSize(NamedTuple):
    """The result of `check`."""

    # Sentence pairs, those with a blank side included.
    pairs: int
    # Pairs with a blank side: left out of training, kept in evaluation.
    empty: int


class Corpus:
    """Sentence pairs that are read anew each time.

    Every corpus has:

    - `name`, for messages.
    - `pairs()`: iterator over `(source, target)` str pairs. Raises a
      `CorpusError` at the first thing that is wrong.
    - `dataset()`: `tf.data.Dataset` of `(source, target)` scalar strings,
      the same pairs, unchecked.
    """

    # Shares of the parts of a corpus that is mixed by them, a list of float.
    weights = None
    _contents = None

    def parts(self):
        """List of the corpora that this one is made of; else it alone."""
        return [self]

    def sentences(self):
        """Iterator over all sentences of both languages."""
        return itertools.chain.from_iterable(self.pairs())

    def sample(self, size, seed):
        """Sentences to learn a vocabulary from.

        Args:
            size: int. How many at most.
            seed: int.

        Returns:
            List of str, each sentence of the corpus equally likely; all of
            them if there are no more than `size`. No empty ones.
        """
        return reservoir(filter(None, self.sentences()), size, seed)

    def training_dataset(self, shuffle_buffer, seed):
        """Pairs without end, shuffled anew in each epoch.

        Args:
            shuffle_buffer: int. Pairs held in memory to draw from.
            seed: int.

        Returns:
            `tf.data.Dataset` of `(source, target)` scalar strings.
        """
        return self.dataset().shuffle(shuffle_buffer, seed=seed).repeat()

    def digest(self):
        """SHA-256 of all pairs in their order, wherever they are read from.

        Returns:
            str of 64 hexadecimal digits.
        """
        found = hashlib.sha256()
        for pair in self.pairs():
            found.update(json.dumps(pair).encode())
        return found.hexdigest()

    def reports(self):
        """A `FilterReport` for each part of the corpus that is filtered."""
        return []

    def check(self):
        """Reads everything once.

        Returns:
            A `CorpusSize`.

        Raises:
            CorpusError: if the corpus cannot be used.
        """
        pairs = empty = characters = 0
        for source, target in self.pairs():
            pairs += 1
            empty += is_blank(source) or is_blank(target)
            characters += len(source.strip(MARGIN)) + len(target.strip(MARGIN))
        if pairs == empty:
            found = f"{pairs} empty lines" if pairs else "no lines"
            raise CorpusError(
                f"{self.name} must hold sentences with their translations; "
                f"it has {found}."
            )
        size = CorpusSize(pairs, empty)
        self._contents = [{**size._asdict(), "characters": characters}]
        return size

    def contents(self):
        """Figures that identify the corpus; free after `check`.

        Returns:
            A list with a dict for each part of it: `pairs` and `empty` as of
            `CorpusSize`, and `characters` of both sides, blanks around them
            not counted. Of a filtered corpus, those of the pairs kept.

        Raises:
            CorpusError: as `check`.
        """
        if self._contents is None:
            self.check()
        return self._contents
