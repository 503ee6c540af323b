"""Finds the characters of a text that a vocabulary spells in bytes."""

import collections
import re
from typing import NamedTuple

_BYTE = re.compile("<0x([0-9A-F]{2})>")


class Coverage(NamedTuple):
    """The result of `coverage`."""

    characters: int  # of the texts, blanks included
    lacking: collections.Counter  # characters that the vocabulary lacks


def coverage(tokenizer, texts):
    """Looks for characters that no subword of a vocabulary has.

    Such a character becomes up to four subwords, one for each of its bytes.
    A model that has not been trained on it knows nothing of it.

    Args:
        tokenizer: `Tokenizer`.
        texts: Iterable of str.

    Returns:
        `Coverage`.

    Example:

    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a dog", "a cat"], 280)
    >>> found = coverage(tokenizer, ["a dög", "ö!"])
    >>> found.characters, dict(found.lacking)
    (7, {'ö': 2, '!': 1})
    """
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    matches = map(_BYTE.fullmatch, pieces)
    byte_of = {
        index: int(match[1], 16) for index, match in enumerate(matches) if match
    }
    characters, lacking = 0, collections.Counter()
    for text in texts:
        characters += len(text)
        spelled = bytearray()
        for index in tokenizer.encode([text])[0]:
            if index in byte_of:
                spelled.append(byte_of[index])
            elif spelled:
                lacking.update(spelled.decode("utf-8", "replace"))
                spelled.clear()
        lacking.update(spelled.decode("utf-8", "replace"))
    return Coverage(characters, lacking)
