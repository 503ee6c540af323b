"""Scores of given translations, by teacher forcing.

B: sentences    S: source length    T: target length, eos included
V: vocabulary

Scoring calls the same `step` as the search. So every translation model can
score, and a translation that the search has found gets the same score here.
"""

import functools
from typing import Any, NamedTuple

import tensorflow as tf

from translation.search.beam_options import (
    BeamOptions,
    coverage_penalty,
    length_penalty,
)
from translation.search.ensemble import uncounted
from translation.search.translate import (
    MAX_SOURCE_LENGTH,
    batches_by_length,
    check_source_length,
    pad_rows,
)
from translation.text.sources import source_row
from translation.text.special_ids import BOS_ID, PAD_ID
from translation.text.target_tokens import target_ids


class Scores(NamedTuple):
    """Scores of a batch; the end mark counts as a token everywhere."""

    scores: Any  # (B,) float32, equation 14 as in `beam_options.py`
    log_probs: Any  # (B,) float32, log P(Y | X)
    token_log_probs: Any  # (B, T) float32, 0 at padding
    lengths: Any  # (B,) int32
    alignments: Any  # (B, T, S) float32, 0 at padding


class ScoredText(NamedTuple):
    """The score of one given translation."""

    score: float  # equation 14
    log_prob: float  # log P(Y | X), the sum of `token_log_probs`
    tokens: list  # of str, the subwords and the end mark
    token_log_probs: list  # of float


def score_batch(translator, source_ids, target_ids, options=None):
    """Scores given translations, in the graph or outside.

    Args:
        translator: A translation model, see `translate.py`.
        source_ids: `(B, S)` int32, each ending in eos, padded with 0.
        target_ids: `(B, T)` int32, each ending in eos, padded with 0.
        options: `BeamOptions`, for the penalties of equation 14.

    Returns:
        `Scores`.

    Example, a model to which all of 4 tokens are equally probable:

    >>> class Even:
    ...     def encode(self, source_ids):
    ...         return (), tf.zeros(tf.shape(source_ids))
    ...     def step(self, ids, state, memory):
    ...         return tf.zeros([tf.shape(ids)[0], 4]), state
    ...     def alignment(self, state):
    ...         return state
    >>> scores = score_batch(Even(), [[3, 2], [2, 0]], [[3, 2], [2, 0]])
    >>> tf.exp(scores.log_probs).numpy().round(4).tolist()
    [0.0625, 0.25]
    """
    options = options or BeamOptions()
    source_ids = tf.convert_to_tensor(source_ids, tf.int32)
    target_ids = tf.convert_to_tensor(target_ids, tf.int32)
    source_mask = tf.not_equal(source_ids, PAD_ID)
    mask_BT = tf.not_equal(target_ids, PAD_ID)
    lengths_B = tf.reduce_sum(tf.cast(mask_BT, tf.int32), axis=1)
    with uncounted(translator):
        log_prob_BT, alignment_BTS = _step_through(
            translator, source_ids, target_ids
        )
    log_prob_BT = tf.where(mask_BT, log_prob_BT, 0.0)
    alignment_BTS = tf.where(mask_BT[..., tf.newaxis], alignment_BTS, 0.0)
    log_prob_B = tf.reduce_sum(log_prob_BT, axis=1)
    scores_B = log_prob_B / length_penalty(lengths_B, options.length_penalty)
    if options.coverage_penalty:
        coverage_BS = tf.reduce_sum(alignment_BTS, axis=1)
        scores_B += coverage_penalty(
            coverage_BS, source_mask, options.coverage_penalty
        )
    return Scores(scores_B, log_prob_B, log_prob_BT, lengths_B, alignment_BTS)


def _step_through(translator, source_ids, target_ids):
    """Log probabilities `(B, T)` of the targets, and alignments."""
    memory, state = translator.encode(source_ids)
    target_TB = tf.transpose(target_ids)
    length = tf.shape(target_TB)[0]

    def advance(time, ids_B, state, log_probs, alignments):
        scores_BV, state = translator.step(ids_B, state, memory)
        target_B = target_TB[time]
        log_prob_B = -tf.nn.sparse_softmax_cross_entropy_with_logits(
            target_B, tf.cast(scores_BV, tf.float32)
        )
        alignment_BS = tf.cast(translator.alignment(state), tf.float32)
        log_probs = log_probs.write(time, log_prob_B)
        return (
            time + 1, target_B, state, log_probs,
            alignments.write(time, alignment_BS),
        )  # fmt: skip

    loop_vars = (
        tf.constant(0),
        tf.fill(tf.shape(source_ids)[:1], BOS_ID),
        state,
        tf.TensorArray(tf.float32, length, element_shape=[None]),
        tf.TensorArray(tf.float32, length, element_shape=[None, None]),
    )
    _, _, _, log_probs, alignments = tf.while_loop(
        lambda time, *_: time < length, advance, loop_vars
    )
    return (
        tf.transpose(log_probs.stack()),
        tf.transpose(alignments.stack(), [1, 0, 2]),
    )


class TextScorer:
    """Scores pairs of texts; keep it, for its graph is built only once.

    Variables of the model may change between calls, as in training.

    Args:
        translator: A translation model, see `translate.py`.
        tokenizer: `Tokenizer`.
        options: `BeamOptions`, for the penalties of equation 14.
        max_source_length: int. Longer sources are cut to this many subwords,
            eos and target language included; translations to as many as the
            search may write for such a source.
        batch_tokens: int. Subwords of a batch, sources and translations
            together, padding included.

    Example:

    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> class Even:
    ...     def encode(self, source_ids):
    ...         return (), tf.zeros(tf.shape(source_ids))
    ...     def step(self, ids, state, memory):
    ...         logits = tf.zeros([tf.shape(ids)[0], tokenizer.vocab_size])
    ...         return logits, state
    ...     def alignment(self, state):
    ...         return state
    >>> tokenizer = train_tokenizer(["a a a b"], 270)
    >>> [scored] = TextScorer(Even(), tokenizer)(["a b"], ["b"])
    >>> len(scored.tokens), scored.tokens[-1]
    (3, '</s>')
    """

    def __init__(
        self,
        translator,
        tokenizer,
        options=None,
        max_source_length=MAX_SOURCE_LENGTH,
        batch_tokens=4096,
    ):
        check_source_length(max_source_length, tokenizer)
        options = options or BeamOptions()
        self.tokenizer = tokenizer
        self.max_source_length = max_source_length
        self.max_target_length = int(options.max_lengths(max_source_length))
        self.batch_tokens = batch_tokens
        ids = tf.TensorSpec([None, None], tf.int32)
        self._score = tf.function(
            functools.partial(score_batch, translator, options=options),
            input_signature=[ids, ids],
            autograph=False,
        )

    def __call__(self, sources, targets, on_progress=None, languages=None):
        """The score of each pair, in the order of the texts.

        Args:
            sources, targets: lists of str, equally many. Blank ones are
                scored like others.
            on_progress: function `(done, total)`, called after each batch
                with numbers of pairs.
            languages: str or list of str. The language of the translations,
                of all or of each; None for a model of one target language.

        Returns:
            List of `ScoredText`.

        Raises:
            ValueError: if the lists differ in length, or the model does not
                write a language.
        """
        if len(sources) != len(targets):
            raise ValueError(
                "`sources` and `targets` must have the same number of texts. "
                f"Received: {len(sources)} and {len(targets)}"
            )
        first = target_ids(self.tokenizer, languages, len(sources))
        read = self._ids(sources, self.max_source_length, first)
        written = self._ids(targets, self.max_target_length)
        pairs = {
            place: source + target
            for place, (source, target) in enumerate(
                zip(read, written, strict=True)
            )
        }
        found = [None] * len(pairs)
        done = 0
        for places in batches_by_length(pairs, self.batch_tokens):
            rows = [written[place] for place in places]
            batch = self._score(
                pad_rows([read[place] for place in places]),
                pad_rows(rows),
            )
            for place, scored in zip(
                places, self._read(batch, rows), strict=True
            ):
                found[place] = scored
            done += len(places)
            if on_progress:
                on_progress(done, len(found))
        return found

    def _ids(self, texts, longest, first=None):
        # Lone surrogates cannot be written in UTF-8: they become "?".
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        encoded = self.tokenizer.encode(whole)
        first = first or [None] * len(texts)
        return [
            source_row(ids, target_id, longest)
            for ids, target_id in zip(encoded, first, strict=True)
        ]

    def _read(self, batch, rows):
        for ids, score, log_prob, logs in zip(
            rows,
            batch.scores.numpy().tolist(),
            batch.log_probs.numpy().tolist(),
            batch.token_log_probs.numpy().tolist(),
            strict=True,
        ):
            tokens = self.tokenizer.pieces(ids)
            yield ScoredText(score, log_prob, tokens, logs[: len(ids)])
