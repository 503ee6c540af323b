"""From source sentences to translations: a model and a beam search.

B: sentences    S: source length    N: hypotheses in work
V: vocabulary    n: translations wanted of each sentence

A translation model is any object with three methods:

    encode(source_ids) -> (memory, state)
        Reads sources `(B, S)` int32, each ending in eos, padded with 0.
        Memory and state are nests of tensors with leading dimension B: the
        encoded sources, and the state before the first target token.

    step(ids, state, memory) -> (scores, state)
        Goes one token further. `ids` `(N,)` int32 are the last tokens of the
        hypotheses, at first bos; rows that do not matter have pad. `scores`
        `(N, V)` are log probabilities or logits of the next token, with a
        static V. The new state has the structure, dtypes and trailing
        dimensions of the old one.

    alignment(state) -> (N, S)
        Attention of the step that returned this state. Rows sum to 1 over
        real source positions. It is a part of the state, zeros at first.

Memory and state have a row for each hypothesis. The search keeps rows only
for what is left to do, so N changes from step to step; it starts with one
hypothesis a sentence.
"""

import concurrent.futures
import functools
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from translation.search.beam_options import BeamOptions
from translation.search.beam_search import beam_search
from translation.search.ensemble import uncounted
from translation.text.blanks import is_blank
from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID

# Longer sources are cut to this many subwords, eos included.
MAX_SOURCE_LENGTH = 256

# Batches in work at a time: memory grows with them.
MAX_WORKERS = 4


class Attention(NamedTuple):
    """What each subword of a translation looked at; both have an end mark."""

    source: list  # of S str, subwords as SentencePiece writes them
    target: list  # of T str
    weights: np.ndarray  # (T, S) float32, rows sum to 1


class Translation(NamedTuple):
    """A translated text."""

    text: str
    score: float  # equation 14 of GNMT, 0 for a blank source
    attention: Attention | None = None  # on request, none for a blank source


def translate_batch(translator, source_ids, options=None, **kwargs):
    """Translates a batch of sources, in the graph or outside.

    Neither pad, bos nor unk are ever written: with byte fallback, every
    text can be spelled without unk.

    Args:
        translator: A translation model, see the top of this file.
        source_ids: `(B, S)` int32, each ending in eos, padded with 0.
        options: `BeamOptions`.
        **kwargs: `return_alignments`, `sentence_options` and `prefix_ids` of
            `beam_search`.

    Returns:
        `translation.search.beam_search.Hypotheses`.
    """
    options = options or BeamOptions()
    source_ids = tf.convert_to_tensor(source_ids, tf.int32)
    source_mask = tf.not_equal(source_ids, PAD_ID)
    lengths_B = tf.reduce_sum(tf.cast(source_mask, tf.int32), axis=1)
    with uncounted(translator):
        memory, state = translator.encode(source_ids)
        return beam_search(
            translator.step,
            state,
            options.max_lengths(lengths_B),
            options,
            memory=memory,
            alignment=translator.alignment,
            source_mask=source_mask,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            forbidden_ids=(PAD_ID, BOS_ID, UNK_ID),
            **kwargs,
        )


class TextTranslator:
    """Translates texts; keep it, for its graph is built only once.

    Variables of the model may change between calls, as in training.

    Args:
        translator: A translation model, see the top of this file.
        tokenizer: `Tokenizer`.
        options: `BeamOptions`.
        max_source_length: int. Longer sources are cut to this many subwords,
            eos included.
        batch_tokens: int. Subwords of a batch of sources, padding included.
            Larger batches are faster until they outgrow the cache or memory.
        alignments: bool. Whether translations have their `attention`.

    Example:

    >>> from translation.text.tokenizer.training import train_tokenizer
    >>> class Copy:  # writes one "a", then eos
    ...     def encode(self, source_ids):
    ...         return (), tf.zeros(tf.shape(source_ids))
    ...     def step(self, ids, state, memory):
    ...         best = tf.where(ids == 1, letter, 2)
    ...         return tf.one_hot(best, tokenizer.vocab_size, 9.0), state
    ...     def alignment(self, state):
    ...         return tf.ones_like(state)
    >>> tokenizer = train_tokenizer(["a a a b"], 270)
    >>> letter = tokenizer.encode(["a"])[0][-1]
    >>> [x.text for x in TextTranslator(Copy(), tokenizer)(["b b", ""])]
    ['a', '']
    """

    def __init__(
        self,
        translator,
        tokenizer,
        options=None,
        max_source_length=MAX_SOURCE_LENGTH,
        batch_tokens=2048,
        alignments=False,
    ):
        if max_source_length < 2:
            raise ValueError(
                "`max_source_length` must be at least 2: a subword and eos. "
                f"Received: max_source_length={max_source_length}"
            )
        self.tokenizer = tokenizer
        self.max_source_length = max_source_length
        self.batch_tokens = batch_tokens
        self._search = tf.function(
            functools.partial(
                translate_batch,
                translator,
                options=options or BeamOptions(),
                return_alignments=alignments,
            ),
            input_signature=[tf.TensorSpec([None, None], tf.int32)],
            autograph=False,
        )

    def __call__(self, texts, on_progress=None):
        """The best translation of each text, in the order of the texts.

        Args:
            texts: list of str. A blank one gives the empty string.
            on_progress: function `(done, total)`, called after each batch
                with numbers of texts.

        Returns:
            List of `Translation`.
        """
        return [best[0] for best in self.n_best(texts, on_progress)]

    def n_best(self, texts, on_progress=None):
        """All translations wanted of each text: list of lists, best first."""
        found = [[Translation("", 0.0)] for _ in texts]
        sources = self._sources(texts)
        done = len(texts) - len(sources)
        for places, translations in self._translated(sources):
            for place, best in zip(places, translations, strict=True):
                found[place] = best
            done += len(places)
            if on_progress:
                on_progress(done, len(texts))
        return found

    def _translated(self, sources):
        """Pairs of the places of a batch and their translations, as they come.

        The operations of a search are small: a batch for each core in work at
        a time uses the cores better than one batch that is spread over them.
        """

        def translate(places):
            rows = [sources[place] for place in places]
            return places, list(self._read(self._search(pad_rows(rows)), rows))

        batches = batches_by_length(sources, self.batch_tokens)
        workers = min(MAX_WORKERS, os.cpu_count() or 1)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            tasks = [pool.submit(translate, places) for places in batches]
            try:
                for task in concurrent.futures.as_completed(tasks):
                    yield task.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _sources(self, texts):
        """Ids of the texts that are not blank, by their places."""
        places = [i for i, text in enumerate(texts) if not is_blank(text)]
        # Lone surrogates cannot be written in UTF-8: they become "?".
        whole = [texts[i].encode("utf-8", "replace").decode() for i in places]
        longest = self.max_source_length - 1
        encoded = self.tokenizer.encode(whole)
        return {
            place: [*ids[:longest], EOS_ID]
            for place, ids in zip(places, encoded, strict=True)
        }

    def _read(self, hypotheses, rows):
        """Lists of `Translation`, without hypotheses that do not exist."""
        ids = hypotheses.ids.numpy()
        flat = self.tokenizer.decode(
            ids.reshape(-1, ids.shape[-1]).tolist() if ids.size else []
        )
        scores = hypotheses.scores.numpy()
        count = scores.shape[1]
        for row, score in enumerate(scores.tolist()):
            texts = flat[row * count : (row + 1) * count] or [""] * count
            attentions = self._attentions(hypotheses, row, rows[row])
            best = [
                Translation(*parts)
                for parts in zip(texts, score, attentions, strict=True)
                if parts[1] > -np.inf
            ]
            yield best or [Translation("", -np.inf)]

    def _attentions(self, hypotheses, row, source):
        """`Attention` of each hypothesis of a source, or None."""
        if hypotheses.alignments is None:
            return [None] * hypotheses.scores.shape[1]
        return [
            Attention(
                self.tokenizer.pieces(source),
                self.tokenizer.pieces(ids[:length]),
                weights[:length, : len(source)],
            )
            for ids, length, weights in zip(
                hypotheses.ids[row].numpy(),
                hypotheses.lengths[row].numpy(),
                hypotheses.alignments[row].numpy(),
                strict=True,
            )
        ]


def batches_by_length(sources, batch_tokens):
    """Groups of like lengths, the longest first.

    Args:
        sources: dict of lists of ids.
        batch_tokens: int. Ids of a group, padding included; a longer
            source is a group of its own.

    Returns:
        List of lists of keys.

    >>> batches_by_length({"a": [5], "b": [5, 6, 7], "c": [5, 6]}, 6)
    [['b', 'c'], ['a']]
    """
    batches = []
    for key in sorted(sources, key=lambda key: -len(sources[key])):
        longest = batches and len(sources[batches[-1][0]])
        if batches and longest * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(key)
        else:
            batches.append([key])
    return batches


def pad_rows(rows):
    """Array `(B, S)` int32 of lists of ids, padded with 0."""
    padded = np.full((len(rows), max(map(len, rows))), PAD_ID, "int32")
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
