"""Constraints on outputs: how they begin, how long they are, no repetition.

Each constraint takes tokens away from the next step by giving them a score of
`-inf`. The scores of the others stay as they are, so an output that meets its
constraints has the log probability that it has without them.

N: hypotheses    V: vocabulary    P: longest prefix
L: longest output and the bos in front of it
"""

from typing import Any, NamedTuple

import tensorflow as tf

from translation.text.special_ids import PAD_ID

NEVER = -float("inf")


class Constraints(NamedTuple):
    """Constraints of each sentence of a batch, or of each hypothesis."""

    prefix_ids: Any  # (B, P) int32, how outputs begin, padded with 0
    min_length: Any  # (B,) int32, tokens of an output at least, with eos
    no_repeat_ngram_size: Any  # (B,) int32, 0 where n-grams may repeat

    def longest(self, max_lengths):
        """Maximum lengths `(B,)` that leave room for the prefix and eos."""
        prefix_B = tf.math.count_nonzero(
            self.prefix_ids, axis=1, dtype=tf.int32
        )
        return tf.maximum(max_lengths, tf.where(prefix_B > 0, prefix_B + 1, 0))


def constraints_of(sentences, prefix_ids=None):
    """`Constraints` from `SentenceOptions` and prefixes `(B, P)`, if any."""
    if prefix_ids is None:
        prefix_ids = tf.zeros([tf.size(sentences.min_length), 0], tf.int32)
    return Constraints(
        tf.cast(prefix_ids, tf.int32),
        sentences.min_length,
        sentences.no_repeat_ngram_size,
    )


def constrain(scores, ids, time, constraints, eos_id):
    """Scores of the next tokens, `-inf` for those that are not allowed.

    A prefix comes before all: its tokens may repeat n-grams. The n-grams of a
    prefix count when later tokens are chosen. The end mark is no part of an
    n-gram.

    Args:
        scores: `(N, V)` float32.
        ids: `(N, L)` int32, the tokens so far, bos first. What stands after
            `time` is ignored.
        time: int32 scalar, place of the last token in `ids`.
        constraints: `Constraints` of each hypothesis.
        eos_id: int.

    Returns:
        `(N, V)` float32.

    Example, of a hypothesis that must not say 3 again, nor end before it has
    two tokens:

    >>> constraints = Constraints(
    ...     prefix_ids=tf.zeros([1, 0], tf.int32),
    ...     min_length=tf.constant([3]),
    ...     no_repeat_ngram_size=tf.constant([1]),
    ... )
    >>> ids = tf.constant([[1, 3, 0, 0]])
    >>> constrain(tf.zeros([1, 5]), ids, 1, constraints, 2).numpy().tolist()
    [[0.0, 0.0, -inf, -inf, 0.0]]
    """
    prefix_ids, min_length_N, size_N = constraints

    def constrained():
        found = _without_repeats(scores, ids, time, size_N)
        too_short_N1 = (time + 1 < min_length_N)[:, tf.newaxis]
        is_eos_V = tf.range(tf.shape(scores)[1]) == eos_id
        found = tf.where(too_short_N1 & is_eos_V, NEVER, found)
        return _forced(found, scores, time, prefix_ids)

    # Most steps of most sentences are free, and then cost nothing.
    is_bound = (
        tf.reduce_any(size_N > 0)
        | tf.reduce_any(time + 1 < min_length_N)
        | (time < tf.shape(prefix_ids)[1])
    )
    return tf.cond(is_bound, constrained, lambda: scores)


def _forced(found_NV, scores_NV, time, prefix_ids_NP):
    """Only the token of the prefix, where there is one for this place."""
    place = tf.minimum(time, tf.shape(prefix_ids_NP)[1])
    token_N1 = tf.pad(prefix_ids_NP, [[0, 0], [0, 1]])[:, place, tf.newaxis]
    is_token_NV = tf.range(tf.shape(scores_NV)[1]) == token_N1
    only_NV = tf.where(is_token_NV, scores_NV, NEVER)
    return tf.where(token_N1 == PAD_ID, found_NV, only_NV)


def _without_repeats(scores_NV, ids_NL, time, size_N):
    """Takes away tokens that would complete an n-gram for the second time.

    The token at place p is one if the n - 1 tokens before p are the last
    n - 1 tokens. They are compared from the last to the first: k places
    before p, and k - 1 places before `time`.
    """
    # Start from all places, and strike out those where one of the n - 1 tokens
    # before differs. What is left at the end are tokens that would repeat.
    place_L = tf.range(tf.shape(ids_NL)[1])
    size_N1 = size_N[:, tf.newaxis]
    repeats_NL = (place_L >= 1) & (place_L <= time) & (size_N1 > 0)

    def compare(k, repeats_NL):
        place = time + 1 - k
        last_N1 = ids_NL[:, tf.maximum(place, 0), tf.newaxis]
        is_same_NL = tf.roll(ids_NL, k, axis=1) == last_N1
        # Bos, at place 0, belongs to no n-gram.
        is_same_NL &= (place_L > k) & (place >= 1)
        return k + 1, repeats_NL & ((size_N1 <= k) | is_same_NL)

    # No longer n-gram than the whole output can have come before.
    longest = tf.minimum(tf.reduce_max(size_N), time + 2)
    _, repeats_NL = tf.while_loop(
        lambda k, _: k < longest, compare, (tf.constant(1), repeats_NL)
    )
    at_M2 = tf.cast(tf.where(repeats_NL), tf.int32)
    token_M = tf.gather_nd(ids_NL, at_M2)
    at_M2 = tf.stack([at_M2[:, 0], token_M], axis=1)
    never_M = tf.fill(tf.shape(token_M), NEVER)
    return tf.tensor_scatter_nd_update(scores_NV, at_M2, never_M)
