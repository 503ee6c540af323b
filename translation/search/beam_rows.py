"""The rows of a step, and the slot of the beams that each works for.

B: sentences    W: beam width, slots of a sentence    N: rows

A step is expensive, so it runs on open hypotheses only: not on those that
have finished, nor on sentences that are done. Open ones stand in the first
slots of their sentence, so a count of rows for each sentence is enough. Rows
of a sentence are neighbours.

Counts do not change every time a hypothesis ends, since the memory has to
move with the rows; some rows are idle and their results are ignored.
"""

from typing import Any, NamedTuple

import tensorflow as tf

# A new layout is made when no more than this fraction of the rows is in use.
# Lower saves copies of the memory, higher saves work in the steps.
IN_USE = 0.85


class Rows(NamedTuple):
    """A layout of rows."""

    sentence: Any  # (N,) int32
    slot: Any  # (N,) int32, in the beams of the sentence
    first: Any  # (B,) int32, first row of a sentence
    count: Any  # (B,) int32, rows of a sentence, 0 when it is done


def rows_for(count_B):
    """Lays out so many rows for each sentence.

    >>> rows = rows_for(tf.constant([2, 0, 1]))
    >>> rows.sentence.numpy().tolist(), rows.slot.numpy().tolist()
    ([0, 0, 2], [0, 1, 0])
    """
    first_B = tf.cumsum(count_B, exclusive=True)
    sentence_N = tf.repeat(tf.range(tf.size(count_B)), count_B)
    slot_N = tf.range(tf.size(sentence_N)) - tf.gather(first_B, sentence_N)
    return Rows(sentence_N, slot_N, first_B, count_B)


def next_rows(rows, open_B, memory):
    """Lays out the rows of the next step and moves the memory with them.

    Args:
        rows: `Rows` of this step.
        open_B: int32. Open hypotheses of each sentence; none where there
            was no row.
        memory: nest with leading dimension N.

    Returns:
        `(rows, memory)`.
    """

    def lay_out():
        fresh = rows_for(open_B)
        old_N = tf.gather(rows.first, fresh.sentence)
        return fresh, gather_rows(memory, old_N)

    in_use = tf.reduce_sum(open_B)
    most = IN_USE * tf.cast(tf.size(rows.sentence), tf.float32)
    too_many = tf.cast(in_use, tf.float32) <= most
    too_few = tf.reduce_any(open_B > rows.count)
    return tf.cond(too_many | too_few, lay_out, lambda: (rows, memory))


def parent_rows(rows, old_rows, parent_BW):
    """Finds the row of the last step that each row continues.

    Args:
        rows, old_rows: `Rows` of the next step and of this one.
        parent_BW: slot of this step that each slot of the next continues.

    Returns:
        int32 tensor `(N,)`.
    """
    at_N2 = tf.stack([rows.sentence, rows.slot], axis=1)
    count_N = tf.gather(old_rows.count, rows.sentence)
    # The parent of an idle row may have had no row: then any will do.
    slot_N = tf.minimum(tf.gather_nd(parent_BW, at_N2), count_N - 1)
    return tf.gather(old_rows.first, rows.sentence) + slot_N


def from_slots(rows, x_BW):
    """Gathers for each row the value of its slot: `(N, ...)`."""
    return tf.gather_nd(x_BW, tf.stack([rows.sentence, rows.slot], axis=1))


def to_slots(rows, x_NK, width, fill):
    """Gathers for each slot the values of its row, or `fill`: `(B, W, K)`."""
    slot_W = tf.range(width)
    row_BW = rows.first[:, tf.newaxis] + slot_W
    has_row_BW = slot_W < rows.count[:, tf.newaxis]
    row_BW = tf.where(has_row_BW, row_BW, tf.size(rows.sentence))
    filled_NK = tf.pad(x_NK, [[0, 1], [0, 0]], constant_values=fill)
    return tf.gather(filled_NK, row_BW)


def gather_rows(nest, indices, batch_dims=0):
    """Applies `tf.gather` to every tensor of a nest."""
    return tf.nest.map_structure(
        lambda x: tf.gather(x, indices, batch_dims=batch_dims), nest
    )
