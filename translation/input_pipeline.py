"""Batches of token ids, streamed from a corpus.

    pairs -> shuffle -> repeat -> tokenize -> drop too long -> bucket -> pad

Pairs are put into buckets by the longer of their two sides, and a batch holds
pairs of one bucket: `(B, L)` for source and target alike, with `B * L` near
`tokens_per_batch`. So a dozen shapes cover a corpus, which matters where each
new shape is compiled. Share of ids that are not padding, and number of shapes,
on Multi30k English-German (8,000 subwords, 1,024 tokens a batch, lengths in
steps of 4):

    | bucket by             | source | target | both | shapes |
    | --------------------- | ------ | ------ | ---- | ------ |
    | target, source padded |   0.63 |   0.91 | 0.75 |     26 |
    | longer side (here)    |   0.84 |   0.87 | 0.85 |     10 |
    | both sides            |   0.91 |   0.91 | 0.91 |     43 |

A bucket for each combination of both sides would save another 6 percent, but
there are four times as many shapes, and pairs of a rare combination wait for
epochs until their batch is full.

B: batch    L: length of a bucket    N: pairs that are tokenized at once
"""

import dataclasses
import math
from typing import NamedTuple

import tensorflow as tf

from translation.corpus import BLANK, CorpusError
from translation.tokenizer import BOS_ID, EOS_ID, PAD_ID

# Beyond six steps of `length_multiple` buckets widen by this factor, so that
# long sentences, of which there are few, share them.
_GROWTH = 1.2
# Pairs that are tokenized at once: a step of tf.data costs more than a pair.
_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class PipelineOptions:
    """How text becomes batches."""

    # Ids in a batch on each side, padding included.
    tokens_per_batch: int = 1024
    # Training leaves out pairs with more ids than this on a side, the end
    # of the sentence counted. Evaluation keeps them.
    max_length: int = 96
    # Pairs held in memory to draw from; more than a corpus has is fine.
    shuffle_buffer: int = 50_000
    # Of the order of pairs, new in each epoch.
    seed: int = 0
    # Above 0, training draws subwords anew each time: `Tokenizer.tokenize`.
    subword_sampling: float = 0.0
    # Lengths of buckets are multiples of this.
    length_multiple: int = 4
    # Whether a batch is padded to the length of its bucket (and the last
    # ones in evaluation with empty rows), or only to its longest sentence.
    static_shapes: bool = True

    def __post_init__(self):
        for name in (
            "tokens_per_batch",
            "max_length",
            "shuffle_buffer",
            "length_multiple",
        ):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. "
                    f"Received: {name}={getattr(self, name)}"
                )
        if self.subword_sampling < 0:
            raise ValueError(
                "`subword_sampling` must not be negative. "
                f"Received: subword_sampling={self.subword_sampling}"
            )


class CorpusTokens(NamedTuple):
    """What training will see of a corpus."""

    # Pairs in all, those with an empty side, and those that are too long.
    pairs: int
    empty: int
    too_long: int
    # Ids of the pairs that are left, the end of each sentence counted.
    source_tokens: int
    target_tokens: int


def batch_shapes(options, longest=None):
    """All shapes that training batches can have.

    Args:
        options: `PipelineOptions`.
        longest: int. Ids of the longest sentence; `options.max_length`
            when left out.

    Returns:
        List of `(B, L)`. `B` is a multiple of 8, unless it is below 8.

    Example:

    >>> batch_shapes(PipelineOptions(tokens_per_batch=256, max_length=30))
    [(64, 4), (32, 8), (16, 12), (16, 16), (8, 20), (8, 24), (8, 32)]
    """
    longest = options.max_length if longest is None else longest
    multiple = options.length_multiple
    lengths = [multiple]
    while lengths[-1] < longest:
        wider = multiple * math.ceil(lengths[-1] * _GROWTH / multiple)
        lengths.append(max(lengths[-1] + multiple, wider))
    return [(_batch_size(options, length), length) for length in lengths]


def count_tokens(corpus, tokenizer, options):
    """Reads a corpus once and counts what training keeps and drops.

    Args:
        corpus: `Corpus`.
        tokenizer: `Tokenizer`.
        options: `PipelineOptions`.

    Returns:
        `CorpusTokens`.
    """

    def add(totals, sources, targets):
        source_N, target_N = _ids(tokenizer, sources), _ids(tokenizer, targets)
        empty_N = _is_empty(sources) | _is_empty(targets)
        long_N = _longer(source_N, target_N) > options.max_length
        keep_N = ~empty_N & ~long_N
        counts = [
            tf.size(empty_N, tf.int64),
            tf.math.count_nonzero(empty_N),
            tf.math.count_nonzero(~empty_N & long_N),
            tf.reduce_sum(source_N.row_lengths()[keep_N]),
            tf.reduce_sum(target_N.row_lengths()[keep_N]),
        ]
        return totals + tf.stack(counts)

    chunks = corpus.dataset().batch(_CHUNK)
    totals = chunks.reduce(
        tf.zeros(5, tf.int64), lambda totals, pair: add(totals, *pair)
    )
    return CorpusTokens(*totals.numpy().tolist())


def training_batches(corpus, tokenizer, options):
    """Batches without end, shuffled anew in each epoch.

    Pairs with an empty side or more than `options.max_length` ids are left
    out. Every batch is full; pairs wait in their bucket, from one epoch to
    the next if need be, until it is.

    Args:
        corpus: `Corpus`.
        tokenizer: `Tokenizer`.
        options: `PipelineOptions`.

    Returns:
        `tf.data.Dataset` of dicts of int32 tensors: `source (B, S)` ends in
        eos, `target_in (B, T)` begins with bos, `target_out (B, T)` is the
        same one step later and ends in eos. With `static_shapes` the shapes
        are those of `batch_shapes`, S = T.

    Raises:
        CorpusError: if the corpus has no pair to train on.
    """
    width = batch_shapes(options)[-1][1]

    def tokenize(sources, targets):
        alpha = options.subword_sampling
        present_N = ~_is_empty(sources) & ~_is_empty(targets)
        source_N = _ids(tokenizer, sources[present_N], alpha)
        target_N = _ids(tokenizer, targets[present_N], alpha)
        fits_N = _longer(source_N, target_N) <= options.max_length
        return _rows(
            tf.ragged.boolean_mask(source_N, fits_N),
            tf.ragged.boolean_mask(target_N, fits_N),
            width,
        )

    pairs = corpus.dataset()
    if not list(pairs.batch(_CHUNK).map(tokenize).unbatch().take(1)):
        raise CorpusError(
            f"{corpus.name} has no pair to train on: each has an empty side "
            f"or more than max_length={options.max_length} subwords."
        )
    rows = (
        pairs.shuffle(options.shuffle_buffer, seed=options.seed)
        .repeat()
        .batch(_CHUNK)
        .map(tokenize)
        .unbatch()
    )
    return _bucket(rows, options, width).map(_without_index).prefetch(4)


def evaluation_batches(corpus, tokenizer, options):
    """Every pair of a corpus once, whatever its length.

    Batches come in the order in which their buckets fill, not in that of the
    corpus; `index` tells where each pair belongs.

    Args:
        corpus: `Corpus`.
        tokenizer: `Tokenizer`.
        options: `PipelineOptions`.

    Returns:
        `tf.data.Dataset` of dicts as of `training_batches`, and with
        `index (B,)` int64, the place of each pair in the corpus, from 0.
        With `static_shapes` a batch that is not full ends in rows of
        padding, whose `index` is -1.
    """
    pairs = corpus.dataset()
    chunks = pairs.batch(_CHUNK).map(
        lambda sources, targets: (
            _ids(tokenizer, sources),
            _ids(tokenizer, targets),
        )
    )
    longest = chunks.reduce(
        tf.constant(1, tf.int64),
        lambda longest, ids: tf.maximum(longest, tf.reduce_max(_longer(*ids))),
    )
    width = batch_shapes(options, int(longest))[-1][1]
    rows = chunks.map(lambda *ids: _rows(*ids, width)).unbatch()
    rows = rows.enumerate().map(lambda index, row: {**row, "index": index})
    return _bucket(rows, options, width).prefetch(4)


def _batch_size(options, length):
    size = max(1, options.tokens_per_batch // length)
    return size - size % 8 if size >= 8 else size


def _ids(tokenizer, strings, alpha=0.0):
    """Ids of each string with eos after it: ragged `(N, None)`."""
    ids_N = tokenizer.tokenize(strings, alpha)
    end_N1 = tf.fill([tf.shape(strings)[0], 1], EOS_ID)
    return tf.concat([ids_N, end_N1], axis=1)


def _longer(source_N, target_N):
    return tf.maximum(source_N.row_lengths(), target_N.row_lengths())


def _is_empty(strings):
    return tf.strings.regex_full_match(strings, f"[{BLANK}]*")


def _rows(source_N, target_N, width):
    """Dense rows, all of one width until they are in their batch."""
    return {
        "source": source_N.to_tensor(PAD_ID, shape=(None, width)),
        "target_out": target_N.to_tensor(PAD_ID, shape=(None, width)),
        "index": tf.zeros_like(source_N.row_lengths()),
        "length": _longer(source_N, target_N),
    }


def _bucket(rows, options, width):
    """Groups rows by length into batches of the shapes of `batch_shapes`."""
    shapes = batch_shapes(options, width)
    sizes = tf.constant([size for size, _ in shapes], tf.int64)
    lengths = tf.constant([length for _, length in shapes], tf.int64)

    def key(row):
        bucket = tf.searchsorted(lengths, row["length"][tf.newaxis])[0]
        return tf.cast(bucket, tf.int64)

    def make_batch(bucket, window):
        size, length = sizes[bucket], lengths[bucket]
        return window.batch(size).map(
            lambda batch: _finish(batch, size, length, options.static_shapes)
        )

    return rows.group_by_window(
        key, make_batch, window_size_func=lambda bucket: sizes[bucket]
    )


def _finish(batch, size, length, static_shapes):
    """Cuts rows to their length and adds the decoder's inputs."""
    source, target = batch["source"], batch["target_out"]
    index = batch["index"]
    if static_shapes:
        source, target = source[:, :length], target[:, :length]
        missing = size - tf.shape(index, tf.int64)[0]
        source = tf.pad(source, [[0, missing], [0, 0]])
        target = tf.pad(target, [[0, missing], [0, 0]])
        index = tf.pad(index, [[0, missing]], constant_values=-1)
    else:
        source, target = _trim(source), _trim(target)
    # One step to the right: eos drops out, and padding stays as it is.
    is_word = (target != PAD_ID) & (target != EOS_ID)
    shifted = tf.where(is_word, target, PAD_ID)[:, :-1]
    begin = tf.where(target[:, :1] == PAD_ID, PAD_ID, BOS_ID)
    return {
        "source": source,
        "target_in": tf.concat([begin, shifted], axis=1),
        "target_out": target,
        "index": index,
    }


def _trim(ids):
    longest = tf.reduce_max(tf.math.count_nonzero(ids, axis=1))
    return ids[:, :longest]


def _without_index(batch):
    return {name: batch[name] for name in batch if name != "index"}
