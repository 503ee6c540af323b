"""Sources as a model reads them: a token for the target language in front.

A model of several target languages is told into which to translate by the
first subword of the source (Johnson et al. 2017, arXiv:1611.04558); a model of
one reads the text alone. Either ends in eos.

B: batch    L: length in subwords
"""

import tensorflow as tf

from translation.text.special_ids import EOS_ID


def source_row(ids, target_id, longest):
    """A source as the model reads it: target language, subwords, eos.

    Args:
        ids: List of int, the subwords of a text.
        target_id: int of `Tokenizer.targets`, or None for a model of one
            target language.
        longest: int. At most so many are returned.

    Returns:
        List of int.

    Example:

    >>> source_row([7, 8, 9], 300, 4), source_row([7, 8, 9], None, 9)
    ([300, 7, 8, 2], [7, 8, 9, 2])
    """
    first = [] if target_id is None else [target_id]
    return [*[*first, *ids][: longest - 1], EOS_ID]


def source_ids(
    tokenizer,
    strings,
    target_id_B=None,
    cuts=None,
    seed=None,
    has_target_B=None,
):
    """Ids of sources in the graph, without eos.

    Args:
        tokenizer: `Tokenizer`.
        strings: string tensor of shape `(B,)`.
        target_id_B: int32 tensor of shape `(B,)`, of `Tokenizer.targets`;
            None for a model of one target language.
        cuts, seed: As of `Tokenizer.tokenize`.
        has_target_B: bool tensor of shape `(B,)`, which strings get their
            token; None for all.

    Returns:
        `RaggedTensor` of shape `(B, None)`, int32.

    Example:

    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> tokenizer = train_tokenizer(["a tree"], 280).with_targets(["fr"])
    >>> ids = source_ids(tokenizer, ["a tree"], [tokenizer.targets["fr"]])
    >>> tokenizer.pieces(ids[0].numpy())[0]
    '<2fr>'
    """
    ids = tokenizer.tokenize(tf.convert_to_tensor(strings), cuts, seed)
    if target_id_B is None:
        return ids
    first_B1 = tf.cast(target_id_B, tf.int32)[:, tf.newaxis]
    if has_target_B is not None:
        first_B1 = tf.ragged.boolean_mask(
            first_B1, tf.convert_to_tensor(has_target_B)[:, tf.newaxis]
        )
    return tf.concat([first_B1, ids], axis=1)
