"""Draws outputs at random from any step function, token by token.

B: sentences    n: outputs drawn for each    N = B * n: rows of a step
V: vocabulary    S: source length    L: longest output and the bos in front

A step scores the next token; one is drawn from these probabilities, changed
in this order:

1. Constraints take tokens away, see `constraints.py`.
2. *Temperature* t: scores are divided by t. Below 1 the probable tokens become
   more probable; 0 always takes the most probable one.
3. *Top-k* (Fan et al. 2018, arXiv:1805.04833, section 5.4): only the k most
   probable tokens are left.
4. *Top-p* (Holtzman et al. 2020, arXiv:1904.09751, section 3.1): of these,
   only the smallest set of the most probable tokens whose probabilities sum
   to p or more.

What is left is scaled to sum to 1. An output ends with eos; at its maximum
length it can only end. Reported log probabilities are those of the model,
whatever the temperature.

The sampler knows no model: its `step`, state and memory are those of
`beam_search.py`, so it also continues texts with a language model, whose
prompt is a prefix. Each draw is decided by the seeds of its sentence, the
number of the output and the place of the token, and by nothing else: an output
depends neither on the rest of the batch nor on the device.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from translation.search.beam_rows import gather_rows
from translation.search.constraints import NEVER, constrain
from translation.search.top_tokens import log_normalizer
from translation.text.special_ids import PAD_ID

# SipHash turns seeds into numbers. Its key is arbitrary but fixed, so that
# seeds mean the same in every version.
_KEY = [1701, 6538]
_STEPS = 2**53  # what float64 can tell apart between 0 and 1


class Sampling(NamedTuple):
    """How to draw the outputs of each sentence."""

    temperature: Any  # (B,) float32, 0 for the most probable token
    top_k: Any  # (B,) int32, 0 for all tokens
    top_p: Any  # (B,) float32, above 0; 1 for all tokens
    seeds: Any  # (B, 2) integers; others give other outputs


class Samples(NamedTuple):
    """Outputs of B sentences, n of each, in the order in which they are drawn.

    Where there is none (scores that are not finite, or constraints that leave
    no token), the length is 0 and the log probability `-inf`.
    """

    ids: Any  # (B, n, longest) int32, eos included, padded with 0
    log_probs: Any  # (B, n) float32, sum of `token_log_probs`
    token_log_probs: Any  # (B, n, longest) float32, 0 at padding
    lengths: Any  # (B, n) int32, eos included
    alignments: Any  # (B, n, longest, S) float32, or None


def sample(
    step,
    state,
    max_lengths,
    sampling,
    *,
    count=1,
    memory=None,
    constraints=None,
    alignment=None,
    bos_id=1,
    eos_id=2,
    forbidden_ids=(0, 1),
):
    """Draws outputs of `step` for each sentence of a batch.

    Args:
        step, state, memory, alignment, bos_id, eos_id, forbidden_ids: As of
            `beam_search`. With `alignment` the result has `alignments`.
        max_lengths: Tensor `(B,)` int32. Longest output, eos included.
        sampling: `Sampling`.
        count: int. Outputs drawn for each sentence, each anew.
        constraints: `Constraints` of each sentence, or None.

    Returns:
        `Samples`.

    Example, a coin that ends with 2 and goes on with 3:

    >>> def step(ids, state):
    ...     log_probs = tf.math.log([0.0, 0.0, 0.4, 0.6])
    ...     return tf.tile(log_probs[None], [tf.shape(ids)[0], 1]), state
    >>> sampling = Sampling([1.0], [0], [1.0], [[1, 0]])
    >>> samples = sample(step, (), [9], sampling, count=1000)
    >>> ends_at_once = tf.cast(samples.lengths == 1, tf.float32)
    >>> 0.35 < float(tf.reduce_mean(ends_at_once)) < 0.45
    True
    """
    max_length_B = tf.maximum(tf.cast(max_lengths, tf.int32), 1)
    if constraints is not None:
        max_length_B = constraints.longest(max_length_B)
    sampling = Sampling(*map(tf.convert_to_tensor, sampling))
    size = tf.size(max_length_B)
    number_N = tf.tile(tf.range(count), [size])
    sentence_N = tf.repeat(tf.range(size), count)
    state, sampling, max_length_N = gather_rows(
        (state, sampling, max_length_B), sentence_N
    )
    memory, constraints = _of_outputs(sentence_N, memory, constraints)

    def advance(time, ids_NL, log_prob_NL, ended_N, state, alignments):
        """One more token for each output that has not ended."""
        scores_NV, stepped = step(ids_NL[:, time], state, *memory)
        scores_NV = tf.cast(scores_NV, tf.float32)
        allowed_NV = _without(scores_NV, forbidden_ids)
        if constraints is not None:
            allowed_NV = constrain(
                allowed_NV, ids_NL, time, constraints, eos_id
            )
        is_last_N = time + 1 >= max_length_N
        allowed_NV = _only(allowed_NV, scores_NV, eos_id, is_last_N)
        uniform_N = uniforms(sampling.seeds, number_N, time)
        token_N = draw(allowed_NV, sampling, uniform_N)
        log_prob_N = _log_probs(allowed_NV, scores_NV, token_N)
        is_new_L = tf.range(tf.shape(ids_NL)[1]) == time + 1
        is_new_NL = ~ended_N[:, tf.newaxis] & is_new_L
        if alignment is not None:
            now_NS = tf.cast(alignment(stepped), tf.float32)
            alignments = alignments.write(time, now_NS)
        return (
            time + 1,
            tf.where(is_new_NL, token_N[:, tf.newaxis], ids_NL),
            tf.where(is_new_NL, log_prob_N[:, tf.newaxis], log_prob_NL),
            ended_N | (token_N == eos_id) | (log_prob_N == NEVER),
            tf.nest.pack_sequence_as(state, tf.nest.flatten(stepped)),
            alignments,
        )

    ids_NL, log_prob_NL, ended_N = _nothing_drawn(max_length_N, bos_id)
    arrays = () if alignment is None else _growing()
    _, ids_NL, log_prob_NL, _, _, arrays = tf.while_loop(
        lambda time, ids, logs, ended_N, *_: ~tf.reduce_all(ended_N),
        advance,
        (tf.constant(0), ids_NL, log_prob_NL, ended_N, state, arrays),
    )
    return _samples(ids_NL[:, 1:], log_prob_NL[:, 1:], arrays, count)


def _nothing_drawn(max_length_N, bos_id):
    """Outputs of bos alone: ids, log probabilities, whether they have ended."""
    rows = tf.size(max_length_N)
    longest = tf.maximum(tf.reduce_max(max_length_N), 0)
    bos_N1 = tf.fill([rows, 1], bos_id)
    return (
        tf.pad(bos_N1, [[0, 0], [0, longest]], constant_values=PAD_ID),
        tf.zeros([rows, longest + 1]),
        tf.zeros([rows], tf.bool),
    )


def draw(scores, sampling, uniform):
    """Draws a token of each row.

    Args:
        scores: `(N, V)` float32: logits or log probabilities; `-inf` is never
            drawn while there is something else.
        sampling: `Sampling` of each row.
        uniform: `(N,)` float64, at least 0 and below 1. The token is the one
            at this place when the probabilities of all tokens are laid side
            by side, in the order of the vocabulary.

    Returns:
        int32 tensor `(N,)`.

    Example, of which the tokens 1 and 2 are left:

    >>> scores = tf.math.log([[0.1, 0.4, 0.3, 0.2]])
    >>> sampling = Sampling([1.0], [2], [1.0], [[0, 0]])
    >>> uniform = tf.constant([0.9], tf.float64)  # above 0.4 / 0.7
    >>> draw(scores, sampling, uniform).numpy().tolist()
    [2]
    """
    temperature_N1 = tf.cast(sampling.temperature, tf.float64)[:, tf.newaxis]
    top_k_N1 = tf.cast(sampling.top_k, tf.int32)[:, tf.newaxis]
    top_p_N1 = tf.cast(sampling.top_p, tf.float64)[:, tf.newaxis]
    is_greedy_N1 = temperature_N1 <= 0
    top_k_N1 = tf.where(is_greedy_N1, 1, top_k_N1)
    divisor_N1 = tf.where(
        is_greedy_N1, tf.ones_like(temperature_N1), temperature_N1
    )
    # Not yet probabilities: the highest is 1, whatever the temperature.
    highest_N1 = tf.reduce_max(scores, axis=1, keepdims=True)
    heat_NV = tf.cast(scores - highest_N1, tf.float64) / divisor_N1
    heat_NV = tf.exp(heat_NV)
    is_left_NV = _left(scores, heat_NV, top_k_N1, top_p_N1)
    heat_NV = tf.where(is_left_NV, heat_NV, tf.zeros_like(heat_NV))

    reached_NV = tf.cumsum(heat_NV, axis=1)
    mark_N1 = uniform[:, tf.newaxis] * reached_NV[:, -1:]
    token_N = tf.reduce_sum(tf.cast(reached_NV <= mark_N1, tf.int32), 1)
    token_N = tf.minimum(token_N, tf.shape(scores)[1] - 1)
    return tf.ensure_shape(token_N, scores.shape[:1])  # the inner loop hides it


def _left(scores_NV, heat_NV, top_k_N1, top_p_N1):
    """Whether top-k and top-p keep a token; of equal ones the lower ids.

    The most probable tokens are sorted, no more of them than it takes: to
    sort a vocabulary is many times as dear as a step of a small model.
    """
    # Sort the best tokens, 8 times as many again until each row has enough of
    # them; then find the last one that is left, and keep all not below it.
    size = tf.shape(scores_NV)[1]
    total_N1 = tf.reduce_sum(heat_NV, axis=1, keepdims=True)
    needs_p_N1 = (top_p_N1 < 1.0) & (top_k_N1 <= 0)

    def sort(count):
        best_NK, token_NK = tf.math.top_k(scores_NV, count)
        heat_NK = tf.gather(heat_NV, token_NK, batch_dims=1)
        in_k_NK = (tf.range(count) < top_k_N1) | (top_k_N1 <= 0)
        heat_NK = tf.where(in_k_NK, heat_NK, tf.zeros_like(heat_NK))
        return best_NK, token_NK, heat_NK

    def is_short(count, best_NK, token_NK, heat_NK):
        reached_N1 = tf.reduce_sum(heat_NK, axis=1, keepdims=True)
        is_short_N1 = needs_p_N1 & (reached_N1 < top_p_N1 * total_N1)
        return (count < size) & tf.reduce_any(is_short_N1)

    def sort_more(count, *_):
        count = tf.minimum(8 * count, size)
        return count, *sort(count)

    first = tf.where(tf.reduce_any(needs_p_N1), 32, 1)
    first = tf.minimum(tf.maximum(first, tf.reduce_max(top_k_N1)), size)
    any_K = tf.TensorShape([None, None])
    _, best_NK, token_NK, heat_NK = tf.while_loop(
        is_short,
        sort_more,
        (first, *sort(first)),
        shape_invariants=(first.shape, any_K, any_K, any_K),
    )
    sum_N1 = tf.where(
        top_k_N1 > 0, tf.reduce_sum(heat_NK, axis=1, keepdims=True), total_N1
    )
    before_NK = tf.cumsum(heat_NK, axis=1, exclusive=True)
    is_left_NK = (before_NK < top_p_N1 * sum_N1) & (heat_NK > 0)
    last_N = tf.reduce_sum(tf.cast(is_left_NK, tf.int32), axis=1) - 1
    last_N = tf.maximum(last_N, 0)
    worst_N1 = tf.gather(best_NK, last_N, batch_dims=1)[:, tf.newaxis]
    token_N1 = tf.gather(token_NK, last_N, batch_dims=1)[:, tf.newaxis]
    is_tie_NV = (scores_NV == worst_N1) & (tf.range(size) <= token_N1)
    takes_all_N1 = (top_k_N1 <= 0) & (top_p_N1 >= 1.0)
    return takes_all_N1 | (scores_NV > worst_N1) | is_tie_NV


def uniforms(seeds, numbers, time):
    """Numbers from 0 to below 1, one for each row, that seeds decide.

    Args:
        seeds: `(N, 2)` integers.
        numbers: `(N,)` integers, the number of the output of a sentence.
        time: Integer scalar, the place of the token.

    Returns:
        `(N,)` float64, evenly distributed.

    >>> a, b = uniforms(tf.constant([[1, 0], [1, 0]]), tf.constant([0, 1]), 5)
    >>> 0 <= float(a) < 1, bool(a == b)
    (True, False)
    """
    parts = (seeds[:, 0], seeds[:, 1], numbers, time)
    text_N = tf.strings.join([*map(tf.strings.as_string, parts)], "/")
    hash_N = tf.strings.to_hash_bucket_strong(text_N, _STEPS, _KEY)
    return tf.cast(hash_N, tf.float64) / _STEPS


def _without(scores_NV, forbidden_ids):
    forbidden = tf.constant(sorted(forbidden_ids), tf.int32)
    token_V1 = tf.range(tf.shape(scores_NV)[1])[:, tf.newaxis]
    is_forbidden_V = tf.reduce_any(token_V1 == forbidden, axis=1)
    return tf.where(is_forbidden_V, NEVER, scores_NV)


def _only(allowed_NV, scores_NV, token, where_N):
    """Allow one token alone in some rows, and all allowed ones elsewhere."""
    is_token_V = tf.range(tf.shape(scores_NV)[1]) == token
    only_NV = tf.where(is_token_V, scores_NV, NEVER)
    return tf.where(where_N[:, tf.newaxis], only_NV, allowed_NV)


def _of_outputs(sentence_N, memory, constraints):
    """Memory, as a tuple, and constraints of the sentence of each output."""
    if memory is not None:
        memory = (gather_rows(memory, sentence_N),)
    if constraints is not None:
        constraints = gather_rows(constraints, sentence_N)
    return memory or (), constraints


def _growing():
    """Make an empty list for the attention `(N, S)` of each step."""
    return tf.TensorArray(
        tf.float32, 0, dynamic_size=True, element_shape=[None, None]
    )


def _log_probs(allowed_NV, scores_NV, token_N):
    """The model's log probabilities of tokens; `-inf` if there was none."""
    highest_N1 = tf.reduce_max(scores_NV, axis=1, keepdims=True)
    normalizer_N = log_normalizer(scores_NV, highest_N1)
    score_N = tf.gather(allowed_NV, token_N, batch_dims=1)
    log_prob_N = tf.minimum(score_N - normalizer_N, 0.0)
    return tf.where(tf.math.is_finite(log_prob_N), log_prob_N, NEVER)


def _samples(ids_NT, log_prob_NT, arrays, count):
    """Makes `Samples` of rows, cut to the longest.

    `arrays` has the attention of each step, or is empty.
    """
    alignments = None
    if not isinstance(arrays, tuple):
        alignments = tf.transpose(arrays.stack(), [1, 0, 2])
    log_prob_N = tf.reduce_sum(log_prob_NT, axis=1)
    exists_N1 = (log_prob_N > NEVER)[:, tf.newaxis]
    is_real_NT = exists_N1 & tf.not_equal(ids_NT, PAD_ID)
    length_N = tf.reduce_sum(tf.cast(is_real_NT, tf.int32), axis=1)
    longest = tf.maximum(tf.reduce_max(length_N), 0)
    is_real_NT = is_real_NT[:, :longest]

    def by_sentence(x_N):
        shape = tf.concat([[-1, count], tf.shape(x_N)[1:]], 0)
        return tf.reshape(x_N, shape)

    found = Samples(
        ids=tf.where(is_real_NT, ids_NT[:, :longest], PAD_ID),
        log_probs=log_prob_N,
        token_log_probs=tf.where(is_real_NT, log_prob_NT[:, :longest], 0.0),
        lengths=length_N,
        alignments=None
        if alignments is None
        else tf.where(
            is_real_NT[..., tf.newaxis], alignments[:, :longest], 0.0
        ),
    )
    return Samples(*(x if x is None else by_sentence(x) for x in found))
