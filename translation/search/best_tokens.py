"""The best few of a vocabulary, quickly.

N: hypotheses    V: vocabulary    K: tokens kept of each    J: blocks of tokens

With a beam of 5 and thousands of tokens, `tf.math.top_k` over the vocabulary
costs as much as the softmax layer itself. It is much faster to look first for
the K blocks of neighbouring tokens with the greatest maxima: no other block
can hold one of the best K.
"""

import tensorflow as tf

# Tokens a block. Measured on 2 cores: anything from 16 to 80 is about as fast,
# half the time of `top_k` for 4,000 tokens and a sixth for 32,000.
BLOCK = 40

# Below this size `top_k` alone is the fastest.
SMALL_VOCABULARY = 1000


def best_tokens(scores, k):
    """The `k` tokens with the highest scores, and the normaliser.

    Ties go to the lower token id, as in `tf.math.top_k`.

    Args:
        scores: Tensor of shape `(N, V)`, V static: logits or log
            probabilities.
        k: int. Tokens to keep, at most `V`.

    Returns:
        `(scores, ids, log_normalizer)` of shapes `(N, K)` float32, `(N, K)`
        int32 and `(N,)` float32: `scores - log_normalizer` are log
        probabilities. The normaliser is NaN or infinite where a row of
        scores holds a NaN, an infinity above zero, or nothing finite.

    Example:

    >>> scores, ids, normalizer = best_tokens(tf.math.log([[.2, .7, .1]]), k=2)
    >>> ids.numpy().tolist()
    [[1, 0]]
    >>> round(float(tf.exp(normalizer[0])), 4)
    1.0
    """
    scores_NV = tf.cast(scores, tf.float32)
    if scores_NV.shape[1] < max(SMALL_VOCABULARY, k * BLOCK):
        best_NK, id_NK = tf.math.top_k(scores_NV, k)
    else:
        best_NK, id_NK = _top_k_by_blocks(scores_NV, k)
    # The maximum is at hand: no need to look for it again, as
    # `tf.reduce_logsumexp` would.
    max_N1 = best_NK[:, :1]
    sum_N = tf.reduce_sum(tf.exp(scores_NV - max_N1), axis=1)
    return best_NK, id_NK, max_N1[:, 0] + tf.math.log(sum_N)


def _top_k_by_blocks(scores_NV, k):
    """`tf.math.top_k` in two stages, with the same order of ties."""
    short = -scores_NV.shape[1] % BLOCK
    if short:
        scores_NV = tf.pad(
            scores_NV, [[0, 0], [0, short]], constant_values=-float("inf")
        )
    count = scores_NV.shape[1] // BLOCK
    blocks_NJb = tf.reshape(scores_NV, [-1, count, BLOCK])
    _, block_NK = tf.math.top_k(tf.reduce_max(blocks_NJb, axis=2), k)
    # In the order of the vocabulary again, so that ties go to lower ids.
    block_NK = tf.sort(block_NK, axis=1)
    chosen_NKb = tf.gather(blocks_NJb, block_NK, batch_dims=1)
    flat_Nc = tf.reshape(chosen_NKb, [-1, k * BLOCK])
    best_NK, place_NK = tf.math.top_k(flat_Nc, k)
    block_NK = tf.gather(block_NK, place_NK // BLOCK, batch_dims=1)
    return best_NK, block_NK * BLOCK + place_NK % BLOCK
