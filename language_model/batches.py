"""Batches of token ids from lines of text.

Each line is a sentence: its ids, and the end mark behind them. The model is
asked for every one of them, and reads the start mark in front of the first.

- *Running text*: the sentences follow each other without padding, in rows of
  `time_steps` ids. `rows` rows are read side by side, and each goes on in the
  next batch, so that the state of the LSTMs may be carried over.
- *Lines*: each sentence stands in a row of its own, with padding behind it,
  beside sentences of about its length.

B: rows of a batch    T: time steps    W: batches of a window
"""

import dataclasses

import tensorflow as tf

from translation.text.input_pipeline import untuned
from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID

# Lines that are tokenized at once: a step of tf.data costs more than a line.
_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """Options of the pipeline from lines to batches.

    Raises:
        ValueError: if a size is below 1.

    Example:

    >>> BatchOptions(rows=16, time_steps=32).tokens_per_batch
    512
    """

    rows: int = 32  # B: texts that are read side by side
    time_steps: int = 32  # T: ids of a row; of the longest line in lines mode
    window: int = 16  # W: batches in which a row goes on with its own text
    by_lines: bool = False  # each line in a row of its own, with padding
    shuffle_buffer: int = 2000  # texts, or lines, in memory to draw from
    shuffle_seed: int = 0  # of their order, new in each epoch

    def __post_init__(self):
        for name in ("rows", "time_steps", "window"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. "
                    f"Received: {name}={getattr(self, name)}"
                )

    @property
    def tokens_per_batch(self):
        """Ids of a full batch."""
        return self.rows * self.time_steps


def running_batches(lines, tokenizer, options, shuffled=False):
    """Batches of running text, as long as there are lines.

    The ids of all lines are cut into texts of W * T. A row of a batch is T
    ids of one text, and goes on in the same row of the next batch, until W
    batches have used their texts up and `begins` says that others follow.
    What fills no text, and texts that fill no batch, are left out: repeat the
    lines for training.

    Args:
        lines: `tf.data.Dataset` of strings. Empty lines are left out.
        tokenizer: `Tokenizer` or `WordVocabulary`.
        options: `BatchOptions`.
        shuffled: bool. Whether texts are drawn from `shuffle_buffer` of them,
            so that a batch holds text from many places.

    Returns:
        `tf.data.Dataset` of dicts: `ids (B, T)` int32, what the model reads;
        `targets (B, T)` int32, the same one step later; `begins` bool scalar,
        whether the rows do not go on from the batch before.

    Example:

    >>> from language_model.words import WordVocabulary
    >>> vocabulary = WordVocabulary({"a": 2, "b": 1})
    >>> lines = tf.data.Dataset.from_tensor_slices(["a b", "b"])
    >>> options = BatchOptions(rows=1, time_steps=5, window=1)
    >>> (batch,) = running_batches(lines, vocabulary, options)
    >>> batch["ids"].numpy().tolist(), batch["targets"].numpy().tolist()
    ([[1, 4, 5, 1, 5]], [[4, 5, 2, 5, 2]])
    """
    rows, steps, window = options.rows, options.time_steps, options.window

    def flat(chunk):
        ids = tokenizer.tokenize(_present(chunk))
        ends = tf.fill([ids.nrows(), 1], EOS_ID)
        begins = tf.fill([ids.nrows(), 1], BOS_ID)
        return {
            "ids": tf.concat([begins, ids], 1).values,
            "targets": tf.concat([ids, ends], 1).values,
        }

    def in_steps(texts):
        """`(B, W T)` ids to `(W, B, T)`."""

        def cut(ids):
            return tf.transpose(
                tf.reshape(ids, [rows, window, steps]), [1, 0, 2]
            )

        batches = {name: cut(ids) for name, ids in texts.items()}
        return {**batches, "begins": tf.equal(tf.range(window), 0)}

    ids = untuned(lines).batch(_CHUNK).map(flat)
    texts = ids.rebatch(steps * window, drop_remainder=True)
    if shuffled and options.shuffle_buffer:
        texts = texts.shuffle(options.shuffle_buffer, options.shuffle_seed)
    batches = texts.batch(rows, drop_remainder=True).map(in_steps)
    return batches.unbatch().prefetch(4)


def line_batches(lines, tokenizer, options, shuffled=False):
    """Batches of sentences, each in a row of its own.

    Sentences are put beside others of about their length; a batch has about
    `rows * time_steps` ids, padding included.

    Args:
        lines: `tf.data.Dataset` of strings. Empty lines are left out; of a
            line with more than T ids, the end mark counted, the first T - 1
            are kept.
        tokenizer: `Tokenizer` or `WordVocabulary`.
        options: `BatchOptions`.
        shuffled: bool. Whether lines are drawn from `shuffle_buffer` of them.

    Returns:
        `tf.data.Dataset` of dicts: `ids (B, T)` and `targets (B, T)` int32,
        padded on the right with 0 to the longest row; `begins`, True.
    """

    def rows_of(chunk):
        ids = tokenizer.tokenize(_present(chunk))[:, : options.time_steps - 1]
        ends = tf.fill([ids.nrows(), 1], EOS_ID)
        rows = tf.concat([ids, ends], 1)
        return rows.to_tensor(PAD_ID), rows.row_lengths()

    lengths = [*range(8, options.time_steps, 8), options.time_steps]
    sizes = [max(1, options.tokens_per_batch // length) for length in lengths]
    if shuffled and options.shuffle_buffer:
        lines = lines.shuffle(options.shuffle_buffer, options.shuffle_seed)
    rows = untuned(lines).batch(_CHUNK).map(rows_of).unbatch()
    rows = rows.map(lambda row, length: row[:length])
    batches = rows.bucket_by_sequence_length(
        tf.size,
        bucket_boundaries=[length + 1 for length in lengths],
        bucket_batch_sizes=[*sizes, 1],  # nothing is longer than the last
        padding_values=PAD_ID,
    )
    return batches.map(with_inputs).prefetch(4)


def with_inputs(targets):
    """Adds what the model reads: the targets one step later, after bos.

    Args:
        targets: int32 tensor `(B, T)`, each row ending in eos, then padded.

    Returns:
        dict of `ids`, `targets` and `begins`, as of `line_batches`.
    """
    is_word = (targets != PAD_ID) & (targets != EOS_ID)
    shifted = tf.where(is_word, targets, PAD_ID)[:, :-1]
    begin = tf.where(targets[:, :1] == PAD_ID, PAD_ID, BOS_ID)
    return {
        "ids": tf.concat([begin, shifted], 1),
        "targets": targets,
        "begins": tf.constant(True),
    }


def _present(chunk):
    return tf.boolean_mask(chunk, tf.strings.length(chunk) > 0)
