"""The slots of a beam search: what they hold, how they start and end.

B: sentences    W: beam width    S: source length    n: translations wanted
L: longest output and the bos in front of it
"""

from typing import Any, NamedTuple

import tensorflow as tf

from translation.text.special_ids import PAD_ID

NEVER = -float("inf")


class Hypotheses(NamedTuple):
    """Translations of B sentences, n of each, best first.

    Where a sentence has fewer than n (a tiny vocabulary, or scores that are
    not finite), the rest has length 0 and `-inf` for its scores.
    """

    ids: Any  # (B, n, longest) int32, eos included, padded with 0
    scores: Any  # (B, n) float32, equation 14
    log_probs: Any  # (B, n) float32, log P(Y | X)
    lengths: Any  # (B, n) int32, eos included
    alignments: Any = None  # (B, n, longest, S) float32, on request


class Beams(NamedTuple):
    """The slots: first open hypotheses, the best first, then finished ones
    in the order in which they finished, then empty slots."""

    ids: Any  # (B, W, L) int32, bos first
    log_prob: Any  # (B, W), -inf in empty slots
    score: Any  # (B, W), -inf until finished
    length: Any  # (B, W) int32, 0 until finished
    finished: Any  # (B, W) bool
    coverage: Any  # (B, W, S) attention received so far, or ()
    alignments: Any  # (B, W, L, S), or ()


def first_beams(max_length_B, source_mask, width, bos_id, keep_alignments):
    """One open hypothesis for each sentence; the other slots are empty.

    Without `source_mask`, there is no attention to remember.
    """
    size = tf.size(max_length_B)
    longest = tf.maximum(tf.reduce_max(max_length_B), 0) + 1
    first_L = tf.one_hot(0, longest, bos_id, PAD_ID, dtype=tf.int32)
    first_W = tf.one_hot(0, width, 0.0, NEVER)
    coverage = alignments = ()
    if source_mask is not None:
        length = tf.shape(source_mask)[1]
        coverage = tf.zeros([size, width, length])
        if keep_alignments:
            alignments = tf.zeros([size, width, longest, length])
    return Beams(
        ids=tf.tile(first_L[None, None], [size, width, 1]),
        log_prob=tf.tile(first_W[None], [size, 1]),
        score=tf.fill([size, width], NEVER),
        length=tf.zeros([size, width], tf.int32),
        finished=tf.zeros([size, width], tf.bool),
        coverage=coverage,
        alignments=alignments,
    )


def best_hypotheses(beams, count):
    """The `count` finished hypotheses with the highest scores."""
    _, best_Bn = tf.math.top_k(beams.score, count)
    beams = gather_rows(beams, best_Bn, batch_dims=1)
    longest = tf.maximum(tf.reduce_max(beams.length), 0)
    ids_BnL = beams.ids[:, :, 1 : longest + 1]
    real_BnL = tf.sequence_mask(beams.length, longest)
    alignments = None
    if not isinstance(beams.alignments, tuple):
        alignments = beams.alignments[:, :, 1 : longest + 1]
        alignments = tf.where(real_BnL[..., None], alignments, 0.0)
    return Hypotheses(
        ids=tf.where(real_BnL, ids_BnL, PAD_ID),
        scores=beams.score,
        log_probs=tf.where(beams.finished, beams.log_prob, NEVER),
        lengths=beams.length,
        alignments=alignments,
    )


def open_slots(beams):
    """`(B, W)`: whether a slot holds a hypothesis that can go on."""
    return ~beams.finished & (beams.log_prob > NEVER)


def gather_rows(nest, indices, batch_dims=0):
    """`tf.gather` of every tensor of a nest."""
    return tf.nest.map_structure(
        lambda x: tf.gather(x, indices, batch_dims=batch_dims), nest
    )
