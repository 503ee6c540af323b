"""Rows of token ids grouped into batches of pairs of near lengths.

Pairs are put into buckets by the longer of their two sides, and a batch holds
pairs of one bucket: `(B, L)` for source and target alike, with `B * L` near
`tokens_per_batch`. So a dozen shapes cover a corpus, which matters where each
new shape is compiled. Where shapes may be any, a few batches of a bucket are
sorted by how much longer the target is than the source, and then cut: pairs of
a batch are alike on both sides, and each side is padded to its own longest.
Such batches follow each other at random again: training that met four of one
length in a row learnt less from them.
`benchmarks/padding.py` counts what is padding.

A bucket for each combination of both sides would do as well, but pairs of a
rare combination would wait for epochs until their batch is full.

B: batch    L: length of a bucket    N: rows that are sorted together
"""

import tensorflow as tf

from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID

# Batches of a bucket that are sorted together.
POOL = 4
# Batches that are shuffled when they have been sorted.
_SHUFFLED = 4 * POOL
# Beyond ten steps of `length_multiple` buckets widen by this factor: long
# sentences are few, and share buckets.
_GROWTH = 1.2


def batch_shapes(options, longest=None):
    """List all shapes that training batches can have.

    Args:
        options: `PipelineOptions`.
        longest: int. Ids of the longest sentence; `options.max_length`
            when left out.

    Returns:
        List of `(B, L)`. `B` is a multiple of 8, unless it is below 8.

    Example:

    >>> from translation.text.input_pipeline import PipelineOptions
    >>> batch_shapes(PipelineOptions(tokens_per_batch=256, max_length=28))
    [(64, 4), (32, 8), (16, 12), (16, 16), (8, 20), (8, 24), (8, 28)]
    """
    longest = options.max_length if longest is None else longest
    multiple = options.length_multiple
    lengths = [multiple]
    while lengths[-1] < longest:
        wider = multiple * int(lengths[-1] * _GROWTH / multiple)
        lengths.append(max(lengths[-1] + multiple, wider))
    return [(_batch_size(options, length), length) for length in lengths]


def _batch_size(options, length):
    size = max(1, options.tokens_per_batch // length)
    return size - size % 8 if size >= 8 else size


def group(rows, shapes, static_shapes, pool=1, seed=0, kinds=1):
    """Group rows by their bucket into batches of its shape.

    Args:
        rows: `tf.data.Dataset` of dicts: `source` and `target_out`, int32
            rows of the width of the longest bucket that end in eos and
            padding; `bucket`, int64, the number of its shape; and perhaps
            `index` and `direction`.
        shapes: List of `(B, L)`, as of `batch_shapes`.
        static_shapes: bool. Whether batches are padded to these shapes, or
            each side to its longest row.
        pool: int. Number of batches of a bucket that are sorted together;
            above 1 only for rows without end.
        seed: int. Of the order of batches where they are sorted.
        kinds: int. Kinds of rows that share no batch; `bucket` is then the
            number of the shape times `kinds`, plus that of the kind.

    Returns:
        `tf.data.Dataset` of dicts of `(B, L)`, as of `training_batches`.
    """
    sizes = tf.constant([size for size, _ in shapes], tf.int64)
    lengths = tf.constant([length for _, length in shapes], tf.int64)

    def make_batch(bucket, window):
        bucket = bucket // kinds
        size, length = sizes[bucket], lengths[bucket]
        batches = window.batch(pool * size)
        if pool > 1:
            batches = batches.map(lambda rows: _alike(rows, size)).unbatch()
        if static_shapes:
            batches = batches.map(lambda rows: _to_shape(rows, size, length))
        else:
            batches = batches.map(_to_longest)
        return batches.map(_finish)

    batches = rows.group_by_window(
        lambda row: row["bucket"],
        make_batch,
        window_size_func=lambda bucket: pool * sizes[bucket // kinds],
    )
    return batches.shuffle(_SHUFFLED, seed) if pool > 1 else batches


def _alike(rows, size):
    """Sort pairs of a bucket into batches `(pool, size, ...)` of like lengths.

    The longer side of all pairs has about the same length, so they are sorted
    by how much longer the target is.
    """
    source_N, target_N = (
        tf.math.count_nonzero(rows[name], axis=1)
        for name in ("source", "target_out")
    )
    order_N = tf.argsort(target_N - source_N, stable=True)

    def cut(x):
        shape = tf.concat([[-1, size], tf.shape(x, tf.int64)[1:]], 0)
        return tf.reshape(tf.gather(x, order_N), shape)

    return {name: cut(x) for name, x in rows.items()}


def _to_shape(rows, size, length):
    """Cuts rows to `length`; fills up, in evaluation, to `size` rows."""
    source, target = rows["source"], rows["target_out"]
    cut = {"source": source[:, :length], "target_out": target[:, :length]}
    if "index" not in rows:
        return {**rows, **cut}
    missing = size - tf.shape(source, tf.int64)[0]
    filled = {
        name: tf.pad(ids, [[0, missing], [0, 0]]) for name, ids in cut.items()
    }
    numbers = {
        name: tf.pad(rows[name], [[0, missing]], constant_values=-1)
        for name in ("index", "direction")
        if name in rows
    }
    return {**filled, **numbers}


def _to_longest(rows):
    """Cuts each side to its longest sentence."""

    def cut(ids):
        longest = tf.reduce_max(tf.math.count_nonzero(ids, axis=1))
        return ids[:, :longest]

    source, target = cut(rows["source"]), cut(rows["target_out"])
    return {**rows, "source": source, "target_out": target}


def _finish(rows):
    """Adds the decoder's inputs: its outputs one step later, after bos."""
    target = rows["target_out"]
    is_word = (target != PAD_ID) & (target != EOS_ID)
    shifted = tf.where(is_word, target, PAD_ID)[:, :-1]
    begin = tf.where(target[:, :1] == PAD_ID, PAD_ID, BOS_ID)
    target_in = tf.concat([begin, shifted], axis=1)
    names = ("source", "target_out", "index", "direction")
    batch = {name: rows[name] for name in names if name in rows}
    return {**batch, "target_in": target_in}
