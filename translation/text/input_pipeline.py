"""Batches of token ids, streamed from a corpus.

    pairs -> shuffle -> repeat -> tokenize -> drop too long -> bucket -> pad

What happens from the buckets on is in `batching.py`.

B: batch    N: pairs that are tokenized at once
"""

import dataclasses
import itertools

import tensorflow as tf

from translation.text.batching import POOL, batch_shapes, group
from translation.text.blanks import are_blank, is_blank
from translation.text.sources import source_ids
from translation.text.special_ids import EOS_ID, PAD_ID
from translation.text.text_files import CorpusError

# Pairs that are tokenized at once: a step of tf.data costs more than a pair.
_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class PipelineOptions:
    """Options of the pipeline from text to batches.

    Example:

    >>> options = PipelineOptions(tokens_per_batch=4096, source_sampling=0.1)
    >>> options.tokens_per_batch // options.max_length  # rows of the longest
    42
    """

    # Ids in a batch on each side, padding included.
    tokens_per_batch: int = 1024
    # Training leaves out pairs with more ids than this on a side, the end
    # of the sentence counted. Evaluation keeps them.
    max_length: int = 96
    # Pairs held in memory to draw from; more than a corpus has is fine.
    shuffle_buffer: int = 50_000
    # Of the order of pairs, new in each epoch.
    shuffle_seed: int = 0
    # Chance that training cuts a word at a place within it, drawn anew each
    # time, so that other subwords come out (`word_cuts.py`); 0: never.
    source_sampling: float = 0.0
    target_sampling: float = 0.0
    # Whether a batch of a multilingual model has one direction, or any.
    one_direction: bool = False
    # Lengths of buckets are multiples of this.
    length_multiple: int = 4
    # Whether a batch is padded to the length of its bucket (and the last
    # ones in evaluation with empty rows), or only to its longest sentence.
    static_shapes: bool = False

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
        for name in ("source_sampling", "target_sampling"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"`{name}` is a probability: at least 0 and at most 1. "
                    f"Received: {name}={getattr(self, name)}"
                )


def training_batches(corpus, tokenizer, options):
    """Make batches without end, shuffled anew in each epoch.

    Pairs with a blank side or more than `options.max_length` ids are left
    out; the token of the target language counts. Every batch is full; pairs
    wait in their bucket, from one epoch to the next if need be, until it is.

    Args:
        corpus: `Corpus`.
        tokenizer: `Tokenizer`.
        options: `PipelineOptions`.

    Returns:
        `tf.data.Dataset` of dicts of int32 tensors: `source (B, S)` ends in
        eos, `target_in (B, T)` begins with bos, `target_out (B, T)` is the
        same one step later and ends in eos. With `static_shapes` the shapes
        are those of `batch_shapes`, S = T. A corpus of several directions
        gives `direction (B,)` too, the place of that of each row in
        `corpus.directions`.

    Raises:
        CorpusError: if the corpus has no pair to train on.
    """
    directions = _directions(corpus)
    for _, part in _by_direction(corpus):
        _check_any_fits(part, tokenizer, options)
    shapes = batch_shapes(options)
    kinds = len(directions) if options.one_direction and directions else 1

    def tokenize(number, pairs):
        sources, targets = pairs[:2]
        present_N = ~are_blank(sources) & ~are_blank(targets)
        rows = _rows(
            tokenizer,
            [side[present_N] for side in pairs],
            shapes,
            directions,
            **_sampling(options, number),
        )
        if kinds > 1:
            direction_N = tf.cast(rows["direction"], tf.int64)
            rows["bucket"] = rows["bucket"] * kinds + direction_N
        fits_N = rows["length"] <= options.max_length
        return {name: rows[name][fits_N] for name in rows}

    pairs = corpus.training_dataset(
        options.shuffle_buffer, options.shuffle_seed
    )
    chunks = untuned(pairs).batch(_CHUNK).enumerate()
    rows = chunks.map(tokenize).unbatch()
    pool = 1 if options.static_shapes else POOL
    batches = group(
        rows, shapes, options.static_shapes, pool, options.shuffle_seed, kinds
    )
    return batches.prefetch(4)


def count_too_long(corpus, tokenizer, options, first=10_000):
    """Count the pairs that `training_batches` leaves out, among the first.

    Args:
        corpus, tokenizer, options: As for `training_batches`.
        first: int. Number of pairs to look at, at most: a big corpus would
            take minutes.

    Returns:
        `(too_long, looked_at)`, int.
    """
    pairs = list(itertools.islice(corpus.pairs(), first))
    sides = [tokenizer.encode(list(side)) for side in zip(*pairs, strict=True)]
    token = bool(tokenizer.targets)  # in front of the source
    longer = (
        max(len(source) + token, len(target)) + 1
        for source, target in zip(*sides, strict=True)
    )
    return sum(length > options.max_length for length in longer), len(pairs)


def evaluation_batches(corpus, tokenizer, options):
    """Make batches of every pair of a corpus once, whatever its length.

    Batches come in the order in which their buckets fill, not in the order of
    the corpus; `index` tells the place of each pair.

    Args:
        corpus: `Corpus`.
        tokenizer: `Tokenizer`.
        options: `PipelineOptions`.

    Returns:
        `tf.data.Dataset` of dicts as of `training_batches`, and with
        `index (B,)` int64, the place of each pair in the corpus, from 0.
        A corpus of several directions has them one after the other.
        With `static_shapes` a batch that is not full ends in rows of
        padding, whose `index` is -1.
    """
    chunks = untuned(corpus.dataset()).batch(_CHUNK)
    longest = chunks.reduce(
        tf.constant(1, tf.int64),
        lambda longest, pair: tf.maximum(
            longest, tf.reduce_max(_lengths(tokenizer, pair))
        ),
    )
    directions = _directions(corpus)
    shapes = batch_shapes(options, int(longest))
    rows = chunks.map(
        lambda *pair: _rows(tokenizer, pair, shapes, directions)
    ).unbatch()
    rows = rows.enumerate().map(lambda index, row: {**row, "index": index})
    return group(rows, shapes, options.static_shapes).prefetch(4)


def untuned(dataset):
    """Turn off TensorFlow's tuning for a dataset without anything to tune.

    The tuner's thread wakes ever more rarely and may miss the call to end.
    Deleting an iterator then takes up to a minute.

    Args:
        dataset: `tf.data.Dataset`.

    Returns:
        `tf.data.Dataset` of the same elements. Datasets made from it are
        untuned as well.

    Example:

    >>> untuned(tf.data.Dataset.range(3)).options().autotune.enabled
    False
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _directions(corpus):
    """The directions of a multilingual corpus, or nothing."""
    return getattr(corpus, "directions", ())


def _by_direction(corpus):
    """List of `(direction, Corpus)`; of one pair, None and the corpus."""
    return corpus.by_direction() if _directions(corpus) else [(None, corpus)]


def _check_any_fits(corpus, tokenizer, options):
    """Refuse a corpus without a usable pair: training would wait forever."""
    token = bool(tokenizer.targets)  # in front of the source
    for source, target in corpus.pairs():
        encoded = tokenizer.encode([source, target])
        lengths = [len(encoded[0]) + token + 1, len(encoded[1]) + 1]
        present = not (is_blank(source) or is_blank(target))
        if present and max(lengths) <= options.max_length:
            return
    raise CorpusError(
        f"{corpus.name} has no pair to train on: each has an empty side or "
        f"more than max_length={options.max_length} subwords."
    )


def _lengths(tokenizer, pair):
    """Ids of sources and of targets, eos counted: two of `(N,)`, int64."""
    sources, targets = pair[:2]
    ids = tokenizer.tokenize(tf.concat([sources, targets], axis=0))
    source_N, target_N = tf.split(ids.row_lengths() + 1, 2)
    return source_N + bool(tokenizer.targets), target_N


def _sampling(options, number):
    """Arguments of `_rows` that cut words at random, seeded by the chunk."""
    rates = (options.source_sampling, options.target_sampling)
    if not any(rates):
        return {}
    return {"rates": rates, "seed": tf.stack([options.shuffle_seed, number])}


def _ids(tokenizer, pair, directions, rates, seed):
    """Ragged ids of sources and then of targets, `(2N, None)`."""
    sources, targets, *direction = pair
    sides = tf.concat([sources, targets], axis=0)
    cuts = None if rates is None else tf.repeat(rates, tf.size(sources))
    if not tokenizer.targets:
        return tokenizer.tokenize(sides, cuts, seed)
    token_of = [tokenizer.targets[pair.target] for pair in directions]
    token_N = tf.gather(tf.constant(token_of, tf.int32), direction[0])
    none_N = tf.zeros_like(token_N, tf.bool)
    return source_ids(
        tokenizer,
        sides,
        tf.concat([token_N, token_N], axis=0),
        cuts,
        seed,
        has_target_B=tf.concat([~none_N, none_N], axis=0),
    )


def _rows(tokenizer, pair, shapes, directions=(), rates=None, seed=None):
    """Ids with eos behind them, in rows as wide as the longest bucket."""
    ids = _ids(tokenizer, pair, directions, rates, seed)
    length = ids.row_lengths()
    width = shapes[-1][1]
    is_end = tf.range(width, dtype=tf.int64) == length[:, tf.newaxis]
    dense = ids.to_tensor(PAD_ID, shape=(None, width))
    source, target = tf.split(tf.where(is_end, EOS_ID, dense), 2)
    longer_N = tf.maximum(*tf.split(length + 1, 2))
    lengths = tf.constant([length for _, length in shapes], tf.int64)
    rows = {
        "source": source,
        "target_out": target,
        "length": longer_N,
        "bucket": tf.searchsorted(lengths, longer_N, out_type=tf.int64),
    }
    return {**rows, "direction": pair[2]} if directions else rows
