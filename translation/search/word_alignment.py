"""Makes links between words from the attention between subwords.

S: source subwords    T: target subwords, both with the end mark
"""

import re
import unicodedata

import numpy as np

SPACE = "\u2581"  # how SentencePiece writes a space
END = "</s>"  # ... and the end mark
_BYTE = re.compile("<0x([0-9A-F]{2})>")  # ... and a byte

# Thai to Lao, Burmese, Khmer, and the signs of Chinese and Japanese.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u31f0-\u31ff"
    "\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)


def word_links(source_pieces, target_pieces, attention, marks=(END,)):
    """Links each target word to the source word that it attends to most.

    Spaces separate words; in scripts without spaces, such as those of Chinese,
    Japanese and Thai, each character is one. The attention between two words
    is the sum over their subwords; the characters of a subword share it.
    Nothing is linked to the end mark, or to a target language.

    Args:
        source_pieces: List of S str, subwords as SentencePiece writes them.
        target_pieces: List of T str.
        attention: Array `(T, S)`, of each target subword.
        marks: Collection of str. Pieces that stand for no text.

    Returns:
        List of `(source word, target word)`, counted from 0: one for each
        target word, in their order. Without source words there are none.

    Example:

    >>> pieces = ["▁the", "▁sm", "all", "</s>"]
    >>> attention = [[0.0, 0.4, 0.5, 0.1], [0.6, 0.2, 0.1, 0.1]]
    >>> word_links(pieces, ["▁petit", "▁le"], attention)
    [(1, 0), (0, 1)]
    """
    source, target = (
        _has_word(words_of(pieces, marks))
        for pieces in (source_pieces, target_pieces)
    )
    if not source.shape[1] or not target.shape[1]:
        return []
    total = target.T @ np.asarray(attention) @ source
    best = total.argmax(axis=1)
    return list(zip(best.tolist(), range(len(best)), strict=True))


def _has_word(words):
    """Array `(pieces, words)`: 1 where a piece has a part in a word."""
    count = max((numbers[-1] for numbers in words if numbers), default=-1) + 1
    found = np.zeros([len(words), count])
    for row, numbers in zip(found, words, strict=True):
        row[numbers] = 1.0
    return found


def words_of(pieces, marks=(END,)):
    """Numbers the words that each subword has a part in.

    Args:
        pieces: List of str, subwords as SentencePiece writes them.
        marks: Collection of str. Pieces that stand for no text.

    Returns:
        List of lists of int: none for spaces and marks, and several only
        where each character is a word.

    >>> words_of(["▁", "▁the", "▁sm", "all", "<0xE2>", "</s>"])
    [[], [0], [1], [1], [1], []]
    >>> words_of(["<2ja>", "▁犬が", "眠る", "</s>"], marks=["<2ja>", "</s>"])
    [[], [0, 1], [2, 3], []]
    """
    written = [b"" if piece in marks else _bytes_of(piece) for piece in pieces]
    # What is no UTF-8 becomes a character for each byte.
    text = b"".join(written).decode("utf-8", "surrogateescape")
    of_byte = []
    for character, word in zip(text, _words(text), strict=True):
        size = len(character.encode("utf-8", "surrogateescape"))
        of_byte += [word] * size
    found, end = [], 0
    for part in written:
        begin, end = end, end + len(part)
        numbers = {word for word in of_byte[begin:end] if word is not None}
        found.append(sorted(numbers))
    return found


def _bytes_of(piece):
    byte = _BYTE.fullmatch(piece)
    if byte:
        return bytes.fromhex(byte[1])
    return piece.replace(SPACE, " ").encode("utf-8", "surrogatepass")


def _words(text):
    """Yields the number of the word of each character, None for spaces."""
    number, in_word = -1, False
    for before, character in zip(f" {text}", text, strict=False):
        if character in " \u3000":
            in_word = False
            yield None
            continue
        is_mark = unicodedata.category(character).startswith("M")
        if not (is_mark and before not in " \u3000"):
            is_alone = _UNSPACED.match(character) is not None
            number += is_alone or not in_word
            in_word = not is_alone
        yield number


def pharaoh(links):
    """Writes links as text: `0-0 1-2`, source word first.

    >>> pharaoh([(1, 0), (0, 1)])
    '1-0 0-1'
    """
    return " ".join(f"{source}-{target}" for source, target in links)
