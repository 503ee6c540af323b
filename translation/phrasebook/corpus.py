"""The embedded corpus: everyday English with its French and German.

Sentences come from the grammar in `translation/phrasebook/grammar/`, so there
is nothing to download and no end to them. English decides its translations:
"you" is formal (vous, Sie) and one man, the simple past is passé composé and
Perfekt (but was, had, wanted: imparfait, Präteritum), and what English leaves
open is masculine. French has a plain space before its question mark.

Whether a sentence is held out depends on its English text alone, so training
and held-out sentences are disjoint whatever their sizes and seeds.
"""

import functools
import random
import zlib
from typing import NamedTuple

from translation.phrasebook.grammar import english, french, german
from translation.phrasebook.grammar.compose import compose

HELD_OUT_EVERY = 20  # one sentence in so many is held out
GIVE_UP_AFTER = 10_000  # sentences in a row that are not new


class Sentence(NamedTuple):
    """A sentence in three languages."""

    english: str
    french: str
    german: str


def is_held_out(text):
    """Whether an English sentence belongs to the held-out part.

    >>> is_held_out("Where is the station?")
    False
    """
    return zlib.crc32(text.encode("utf-8")) % HELD_OUT_EVERY == 0


def stream(seed=0, held_out=False):
    """Yields `Sentence`s without end; the same one may come again.

    Args:
        seed: int. Equal seeds give equal sentences, in every process.
        held_out: bool. Which of the two disjoint parts to draw from.
    """
    rng = random.Random(seed)
    while True:
        meaning = compose(rng)
        text = english.utterance(meaning)
        if is_held_out(text) == held_out:
            yield Sentence(
                text, french.utterance(meaning), german.utterance(meaning)
            )


def phrasebook(size, seed=0, held_out=False):
    """A list of distinct sentences in English, French and German.

    Args:
        size: int, at least 1. How many sentences; the grammar bears millions.
        seed: int. Equal seeds give equal lists.
        held_out: bool. Training sentences, or the held-out ones; no
            sentence is in both, whatever the sizes and seeds.

    Returns:
        A list of `size` `Sentence`s, no two with the same English. A longer
        list with the same seed begins with the shorter one.

    Raises:
        ValueError: if `size` is less than 1, or more than the grammar bears.

    Example:

    >>> sentences = phrasebook(3, seed=1)
    >>> len(sentences)
    3
    """
    if size < 1:
        raise ValueError(
            "`size` must be at least 1, the number of sentences wanted. "
            f"Received: size={size}"
        )
    return list(_composed(size, seed, held_out))


@functools.lru_cache(maxsize=4)  # all pairs of languages have the same ones
def _composed(size, seed, held_out):
    distinct = {}
    in_vain = 0
    for sentence in stream(seed, held_out):
        if sentence.english in distinct:
            in_vain += 1
        else:
            distinct[sentence.english] = sentence
            in_vain = 0
        if len(distinct) == size:
            return tuple(distinct.values())
        if in_vain == GIVE_UP_AFTER:
            raise ValueError(
                "`size` must not exceed what the grammar bears, about "
                f"{len(distinct)} sentences. Received: size={size}"
            )
