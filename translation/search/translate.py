"""Translates source sentences with a model and a search.

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
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from translation.search.beam_options import (
    BeamOptions,
    coverage_penalty,
    length_penalty,
    same_for_all,
)
from translation.search.beam_rows import gather_rows
from translation.search.beam_search import Hypotheses, beam_search
from translation.search.constraints import constraints_of
from translation.search.ensemble import uncounted
from translation.search.sampling import Sampling, sample
from translation.text.blanks import is_blank
from translation.text.sources import source_row
from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from translation.text.target_tokens import target_ids

# Longer sources are cut to this many subwords, eos included.
MAX_SOURCE_LENGTH = 256

# What is left out around a prefix, as by `tf.strings.strip`.
BLANKS = " \t\n\v\f\r"

# Batches translated at a time: memory grows with them.
MAX_WORKERS = 4


class Attention(NamedTuple):
    """Attention of each subword of a translation on those of its source.

    Both sides end with the end mark. The source begins with the target
    language, as `<2fr>`, if the model has several.
    """

    source: list  # of S str, subwords as SentencePiece writes them
    target: list  # of T str
    weights: np.ndarray  # (T, S) float32, rows sum to 1


class Translation(NamedTuple):
    """A translated text."""

    text: str
    score: float  # equation 14 of GNMT, 0 for a blank source
    attention: Attention | None = None  # on request, none for a blank source


def translate_batch(
    translator,
    source_ids,
    options=None,
    *,
    return_alignments=False,
    sentence_options=None,
    prefix_ids=None,
    sampling=None,
    control_ids=(),
):
    """Translates a batch of sources, in the graph or outside.

    Pad, bos and unk are never written: with byte fallback, every text can be
    spelled without unk.

    Args:
        translator: A translation model, see the top of this file.
        source_ids: `(B, S)` int32, each ending in eos, padded with 0.
        options: `BeamOptions`.
        return_alignments, sentence_options, prefix_ids: As of `beam_search`.
        sampling: `Sampling`: translations are drawn at random, as many as
            `num_translations`, and ranked by their scores. None: searched
            for, or drawn as `options` say, with the number of the row as
            the second seed.
        control_ids: Sequence of int. Further subwords that are never
            written, such as those that stand for target languages.

    Returns:
        `translation.search.beam_search.Hypotheses`.
    """
    options = options or BeamOptions()
    source_ids = tf.convert_to_tensor(source_ids, tf.int32)
    source_mask = tf.not_equal(source_ids, PAD_ID)
    lengths_B = tf.reduce_sum(tf.cast(source_mask, tf.int32), axis=1)
    if sampling is None and options.sampling:
        sampling = sampling_of(options, tf.range(tf.size(lengths_B)))
    run = beam_search if sampling is None else _sampled
    more = {} if sampling is None else {"sampling": sampling}
    with uncounted(translator):
        memory, state = translator.encode(source_ids)
        return run(
            translator.step,
            state,
            options.max_lengths(lengths_B),
            options,
            memory=memory,
            alignment=translator.alignment,
            source_mask=source_mask,
            return_alignments=return_alignments,
            sentence_options=sentence_options,
            prefix_ids=prefix_ids,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            forbidden_ids=(PAD_ID, BOS_ID, UNK_ID, *control_ids),
            **more,
        )


def sampling_of(options, numbers):
    """`Sampling` as options say, for sentences with these numbers `(B,)`."""
    size = tf.size(numbers)
    seed_B = tf.fill([size], tf.constant(options.sampling_seed, tf.int64))
    return Sampling(
        tf.fill([size], tf.constant(options.temperature, tf.float32)),
        tf.fill([size], options.top_k),
        tf.fill([size], tf.constant(options.top_p, tf.float32)),
        tf.stack([seed_B, tf.cast(numbers, tf.int64)], axis=1),
    )


def _sampled(
    step,
    state,
    max_lengths,
    options,
    *,
    alignment,
    source_mask,
    return_alignments,
    sentence_options,
    prefix_ids,
    sampling,
    **kwargs,
):
    """`sample`, with the arguments and the result of `beam_search`."""
    sentences = sentence_options or same_for_all(options, tf.size(max_lengths))
    drawn = sample(
        step,
        state,
        max_lengths,
        sampling,
        count=options.num_translations,
        constraints=constraints_of(sentences, prefix_ids),
        alignment=alignment,
        **kwargs,
    )
    alpha_B1, beta_B1 = (
        penalty[:, tf.newaxis]
        for penalty in (sentences.length_penalty, sentences.coverage_penalty)
    )
    score_Bn = drawn.log_probs / length_penalty(drawn.lengths, alpha_B1)
    score_Bn += coverage_penalty(
        tf.reduce_sum(drawn.alignments, axis=2),
        source_mask[:, tf.newaxis],
        beta_B1,
    )
    score_Bn, order_Bn = tf.math.top_k(score_Bn, options.num_translations)
    drawn = gather_rows(drawn, order_Bn, batch_dims=1)
    return Hypotheses(
        drawn.ids,
        score_Bn,
        drawn.log_probs,
        drawn.lengths,
        drawn.alignments if return_alignments else None,
    )


class TextTranslator:
    """Translates texts.

    Keep the object: its graph is built only once. Variables of the model may
    change between calls, as in training.

    Args:
        translator: A translation model, see the top of this file.
        tokenizer: `Tokenizer`.
        options: `BeamOptions`.
        max_source_length: int. Longer sources are cut to this many subwords,
            eos and target language included.
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
        check_source_length(max_source_length, tokenizer)
        self.tokenizer = tokenizer
        self.max_source_length = max_source_length
        self.batch_tokens = batch_tokens
        options = options or BeamOptions()

        def search(source_ids, prefix_ids=None, numbers=None):
            sampling = (
                None if numbers is None else sampling_of(options, numbers)
            )
            return translate_batch(
                translator,
                source_ids,
                options,
                return_alignments=alignments,
                prefix_ids=prefix_ids,
                sampling=sampling,
                control_ids=tuple(tokenizer.targets.values()),
            )

        def graph(*inputs):
            return tf.function(search, input_signature=inputs, autograph=False)

        ids = tf.TensorSpec([None, None], tf.int32)
        numbers = tf.TensorSpec([None], tf.int64)
        self._is_sampling = options.sampling
        self._search = graph(ids)
        self._search_from = graph(ids, ids)  # with prefixes
        self._sample = graph(ids, ids, numbers)

    def __call__(
        self,
        texts,
        on_progress=None,
        prefixes=None,
        first_number=0,
        targets=None,
    ):
        """Translates texts, in their order.

        Args:
            texts: list of str. A blank one gives the empty string.
            on_progress: function `(done, total)`, called after each batch
                with numbers of texts.
            prefixes: list of str, or None. How the translations of each text
                begin; the empty one leaves them free. Blanks around it are
                left out, and it may end within a word.
            first_number: int. Number of the first text, for sampling: it and
                the seed decide what is drawn.
            targets: str or list of str. The language to translate into, of
                all texts or of each; None for a model of one.

        Returns:
            List of `Translation`.

        Raises:
            ValueError: if there are not as many prefixes or targets as
                texts, or the model does not write a target.
        """
        found = self.n_best(texts, on_progress, prefixes, first_number, targets)
        return [best[0] for best in found]

    def n_best(
        self,
        texts,
        on_progress=None,
        prefixes=None,
        first_number=0,
        targets=None,
    ):
        """All translations wanted of each text: list of lists, best first."""
        if prefixes is not None and len(prefixes) != len(texts):
            raise ValueError(
                "There must be as many `prefixes` as `texts`. Received: "
                f"{len(prefixes)} and {len(texts)}"
            )
        found = [[Translation("", 0.0)] for _ in texts]
        sources = self._sources(texts, targets)
        starts = None if prefixes is None else self._starts(prefixes)
        done = len(texts) - len(sources)
        for places, translations in self._translated(
            sources, starts, first_number
        ):
            for place, best in zip(places, translations, strict=True):
                found[place] = best
            done += len(places)
            if on_progress:
                on_progress(done, len(texts))
        return found

    def _translated(self, sources, starts, first_number):
        """Yields the places of each batch and their translations.

        The operations of a search are small, so one batch for each core at a
        time uses the cores better than one batch spread over all of them.
        """

        def translate(places):
            rows = [sources[place] for place in places]
            ids = pad_rows(rows)
            if starts is None and not self._is_sampling:
                found = self._search(ids)
            else:
                prefixes = [starts[x] if starts else [] for x in places]
                prefix_ids = pad_rows(prefixes)
                if self._is_sampling:
                    numbers = np.array(places, "int64") + first_number
                    found = self._sample(ids, prefix_ids, numbers)
                else:
                    found = self._search_from(ids, prefix_ids)
            return places, list(self._read(found, rows))

        batches = batches_by_length(sources, self.batch_tokens)
        workers = min(MAX_WORKERS, os.cpu_count() or 1)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            tasks = [pool.submit(translate, places) for places in batches]
            try:
                for task in concurrent.futures.as_completed(tasks):
                    yield task.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _sources(self, texts, targets):
        """Ids of the texts that are not blank, by their places."""
        first = target_ids(self.tokenizer, targets, len(texts))
        places = [i for i, text in enumerate(texts) if not is_blank(text)]
        encoded = self._encoded([texts[i] for i in places])
        return {
            place: source_row(
                ids, first and first[place], self.max_source_length
            )
            for place, ids in zip(places, encoded, strict=True)
        }

    def _starts(self, prefixes):
        """Ids of each prefix, without eos; none for a blank one."""
        return self._encoded(
            ["" if is_blank(x) else x.strip(BLANKS) for x in prefixes]
        )

    def _encoded(self, texts):
        # Lone surrogates cannot be written in UTF-8: they become "?".
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        return self.tokenizer.encode(whole)

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


def check_source_length(max_source_length, tokenizer):
    """Refuses a length that has no room for a subword of the text.

    Args:
        max_source_length: int. Subwords of a source, with its marks.
        tokenizer: `Tokenizer`.

    Raises:
        ValueError: if it is too short.
    """
    marks = 2 if tokenizer.targets else 1
    if max_source_length <= marks:
        also = "the target language, " if tokenizer.targets else ""
        raise ValueError(
            f"`max_source_length` must be at least {marks + 1}: {also}a "
            "subword and eos. Received: "
            f"max_source_length={max_source_length}"
        )


def batches_by_length(sources, batch_tokens):
    """Groups sources of like length, the longest first.

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
    """Pads lists of ids with 0, to an array `(B, S)` int32."""
    padded = np.full((len(rows), max(map(len, rows))), PAD_ID, "int32")
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
