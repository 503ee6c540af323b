"""Makes links between words from the attention between subwords.

S: source subwords    T: target subwords, both with the end mark
"""

import numpy as np

SPACE = "\u2581"  # how SentencePiece writes a space
END = "</s>"  # ... and the end mark


def word_links(source_pieces, target_pieces, attention, marks=(END,)):
    """Links each target word to the source word that it attends to most.

    Spaces separate words. The attention between two words is the sum over
    their subwords. Nothing is linked to the end mark, or to a target language.

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
    source_S, target_T = (
        words_of(pieces, marks) for pieces in (source_pieces, target_pieces)
    )
    source_count = max(source_S, default=-1) + 1
    target_count = max(target_T, default=-1) + 1
    if not source_count:
        return []
    # Row -1, the last one, is for subwords that belong to no word.
    total = np.zeros([target_count + 1, source_count + 1])
    np.add.at(total, np.ix_(target_T, source_S), np.asarray(attention))
    best = total[:target_count, :source_count].argmax(axis=1)
    return list(zip(best.tolist(), range(target_count), strict=True))


def words_of(pieces, marks=(END,)):
    """Numbers the word of each subword; -1 for spaces and marks.

    >>> words_of(["▁", "▁the", "▁sm", "all", "<0xE2>", "</s>"])
    [-1, 0, 1, 1, 1, -1]
    >>> words_of(["<2fr>", "▁the", "</s>"], marks=["<2fr>", "</s>"])
    [-1, 0, -1]
    """
    numbers = []
    word, in_word = -1, False
    for piece in pieces:
        content = piece.lstrip(SPACE)
        if piece in marks or not content:
            in_word = False
            numbers.append(-1)
            continue
        if content != piece or not in_word:
            word, in_word = word + 1, True
        numbers.append(word)
    return numbers


def pharaoh(links):
    """Writes links as text: `0-0 1-2`, source word first.

    >>> pharaoh([(1, 0), (0, 1)])
    '1-0 0-1'
    """
    return " ".join(f"{source}-{target}" for source, target in links)
