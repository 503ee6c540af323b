"""Experts that choose tokens, also from a batch that replicas share.

N: tokens, on several replicas of each    E: experts    D: digits, 256
M: tokens of each expert
"""

import math

import tensorflow as tf

from moe_keras.placement.replicas import (
    gather_over_replicas,
    num_replicas,
    replica_index,
    sum_over_replicas,
)

_DIGIT_BITS = 8


def choose_tokens(score, tokens_each, mask=None):
    """Choose for each expert the best tokens of the batch of all replicas.

    Of equal scores the first tokens win, those of replica 0 before those of
    replica 1: the same tokens are chosen as on one device.

    Args:
        score: Tensor `(N, E)`, nowhere above 0, such as logarithms of
            probabilities.
        tokens_each: Scalar int32 tensor M, the same on all replicas: how many
            each expert takes, not more than they have together under `mask`.
        mask: Optional boolean tensor `(N,)`. Where it is False the token is
            not taken.

    Returns:
        Boolean tensor `(N, E)`, True in M rows of each column, over all
        replicas. It has no gradient.

    Example:

    >>> score = tf.constant([[-1.0, -2.0], [-3.0, -0.5], [-2.0, -0.1]])
    >>> choose_tokens(score, 1).numpy().tolist()
    [[True, False], [False, False], [False, True]]
    """
    score = tf.stop_gradient(score)
    if mask is not None:
        score = tf.where(mask[:, None], score, -math.inf)
    if num_replicas() == 1:
        return _best_here(score, tokens_each)
    return _best_of_all(score, tokens_each)


def choices_of_tokens(score, is_taken):
    """Turn the tokens of each expert into the experts of each token.

    Args:
        score: Tensor `(N, E)`.
        is_taken: Boolean tensor `(N, E)`.

    Returns:
        int32 tensor `(N, K)`, the experts of each token, that with the highest
        score first, and their scores, a tensor `(N, K)`. K is the number of
        experts of the token that has most, at least 1; places without an
        expert are the last, -1 and with a score that is finite.

    Example:

    >>> expert, _ = choices_of_tokens(
    ...     [[-1.0, -0.5], [-2.0, -3.0]], [[True, True], [False, False]]
    ... )
    >>> expert.numpy().tolist()
    [[1, 0], [-1, -1]]
    """
    score = tf.convert_to_tensor(score)
    counts_N = tf.reduce_sum(tf.cast(is_taken, "int32"), axis=1)
    most = tf.maximum(tf.reduce_max(counts_N), 1)
    # Finite, so that a softmax over a row without expert has no NaN.
    others = tf.where(is_taken, score, score.dtype.min)
    top_NK, expert_NK = tf.math.top_k(others, most)
    is_taken_NK = tf.range(most) < counts_N[:, None]
    return tf.where(is_taken_NK, expert_NK, -1), top_NK


def _best_here(score_NE, tokens_each):
    token_EM = tf.math.top_k(tf.transpose(score_NE), tokens_each).indices
    expert_E1 = tf.range(tf.shape(score_NE)[1])[:, None]
    expert_EM = tf.broadcast_to(expert_E1, tf.shape(token_EM))
    return 0 < tf.scatter_nd(
        tf.stack([token_EM, expert_EM], axis=-1),
        tf.ones_like(token_EM),
        tf.shape(score_NE),
    )


def _best_of_all(score_NE, tokens_each):
    """Choose without gathering the scores; each replica may have another N.

    Replicas search together for the score of each expert's last token, digit
    by digit, and send nothing but counts.
    """
    # The bits of numbers from 0 on are in the order of the numbers.
    bits = "int64" if score_NE.dtype == tf.float64 else "int32"
    cost_NE = tf.bitcast(tf.abs(score_NE), bits)
    last_E, missing_E = _last_taken(cost_NE, tokens_each)
    is_last_NE = tf.equal(cost_NE, last_E)
    is_last = tf.cast(is_last_NE, "int32")
    of_replicas_RE = gather_over_replicas(tf.reduce_sum(is_last, axis=0))
    before_E = tf.reduce_sum(of_replicas_RE[: replica_index()], axis=0)
    before_NE = before_E + tf.cumsum(is_last, axis=0, exclusive=True)
    return (cost_NE < last_E) | (is_last_NE & (before_NE < missing_E))


def _last_taken(cost_NE, tokens_each):
    """Find the M-th lowest cost of each expert, as bits.

    Returns:
        Tensor `(E,)`, and an int32 tensor `(E,)`: how many of the tokens that
        cost exactly this are among the M.
    """
    # Radix search from the highest digit: count the tokens by their next
    # digit, take the digit in which the M-th lies, and go on within it.
    num_experts, digits = cost_NE.shape[1], 2**_DIGIT_BITS
    first_E = digits * tf.range(num_experts)
    known_E = tf.zeros(num_experts, cost_NE.dtype)
    missing_E = tf.fill([num_experts], tokens_each)
    for shift in range(8 * cost_NE.dtype.size - _DIGIT_BITS, -1, -_DIGIT_BITS):
        prefix_NE = tf.bitwise.right_shift(cost_NE, shift)
        digit_NE = tf.cast(prefix_NE % digits, "int32")
        is_open_NE = tf.equal(prefix_NE // digits, known_E)
        count = tf.math.unsorted_segment_sum(
            tf.ones_like(digit_NE),
            tf.where(is_open_NE, first_E + digit_NE, -1),
            digits * num_experts,
        )
        count_ED = tf.reshape(sum_over_replicas(count), [num_experts, digits])
        below_ED = tf.cumsum(count_ED, axis=1, exclusive=True)
        is_below_ED = below_ED + count_ED < missing_E[:, None]
        digit_E = tf.reduce_sum(tf.cast(is_below_ED, "int32"), axis=1)
        missing_E -= tf.gather(below_ED, digit_E, batch_dims=1)
        known_E = digits * known_E + tf.cast(digit_E, known_E.dtype)
    return known_E, missing_E
