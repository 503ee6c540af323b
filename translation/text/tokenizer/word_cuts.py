"""Subword regularisation: other segmentations of a word, drawn at random.

A word is cut at random between its letters, and each part is segmented for
itself, so that no subword reaches over a cut. A cut where two subwords meet
anyway changes nothing. It resembles BPE-dropout (arXiv:1910.13267), which
leaves out merges at random, and works for a unigram vocabulary as well, in
place of sampling from the lattice (arXiv:1804.10959).

SentencePiece has both, but its random generator can neither be seeded nor saved
by TensorFlow Text: no run could be repeated or resumed. Cuts are a function of
a seed.

B: batch    L: length in characters    P: parts
"""

import tensorflow as tf

_SPACE = 32


def cut_words(strings, probability, seed):
    """Cut the words of strings at random; the parts joined give the strings.

    Two neighbouring characters, neither a space, are cut apart with the given
    probability, independently of all others.

    Args:
        strings: string tensor of shape `(B,)`, in UTF-8.
        probability: float, or float tensor of shape `(B,)`. 0 cuts nothing,
            1 leaves single characters.
        seed: int tensor of shape `(2,)`. Equal seeds make equal cuts.

    Returns:
        string `RaggedTensor` of shape `(B, None)`. An empty string has no
        parts; bytes that are not UTF-8 become U+FFFD.

    Example:

    >>> parts = cut_words(tf.constant(["a tree"]), 1.0, seed=(0, 0))
    >>> [part.decode() for part in parts.values.numpy()]
    ['a t', 'r', 'e', 'e']
    """
    characters = tf.strings.unicode_decode(strings, "UTF-8")
    row_L = characters.value_rowids()
    is_letter_L = characters.values != _SPACE
    is_new_row_L = row_L[1:] != row_L[:-1]
    chance_B = tf.broadcast_to(probability, tf.shape(strings))
    draw_L = tf.random.stateless_uniform(tf.shape(row_L), seed)
    is_drawn_L = draw_L < tf.gather(chance_B, row_L)
    is_cut_L = is_letter_L[1:] & is_letter_L[:-1] & is_drawn_L[1:]
    is_first_L = tf.ones_like(row_L[:1], tf.bool)
    begins_L = tf.concat([is_first_L, is_new_row_L | is_cut_L], axis=0)
    begin_P = tf.where(begins_L)[:, 0]
    parts = tf.RaggedTensor.from_row_starts(characters.values, begin_P)
    return tf.RaggedTensor.from_value_rowids(
        tf.strings.unicode_encode(parts, "UTF-8"),
        tf.gather(row_L, begin_P),
        nrows=characters.nrows(),
    )
