"""Tables of next-token scores, searched and evaluated in plain Python."""

import functools
import math

import numpy as np
import tensorflow as tf

from translation.search.beam_search import beam_search

BOS, EOS = 1, 2


def log_softmax(scores):
    scores = scores - scores.max(-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


@functools.cache
def compiled_search(vocabulary, options, **kwargs):
    """A search in tables, in a graph with unknown batch and length."""

    def step(ids, state, memory):
        seen = tf.gather(memory["attention"], ids, batch_dims=1)
        scores = tf.gather(memory["table"], ids, batch_dims=1)
        scores = tf.ensure_shape(scores, [None, vocabulary])
        return scores, [state[0] + 1, seen]

    def search(table, attention, mask, max_lengths):
        return beam_search(
            step,
            [tf.zeros_like(max_lengths), tf.zeros(tf.shape(mask))],
            max_lengths,
            options,
            memory={"table": table, "attention": attention},
            alignment=lambda state: state[1],
            source_mask=mask,
            **kwargs,
        )

    return tf.function(search, reduce_retracing=True, autograph=False)


class Markov:
    """A different table of next-token scores for each sentence.

    The next token depends on the sentence and the last token; attention too,
    so that coverage differs between outputs. Padding gets no attention.
    """

    def __init__(self, lengths, vocabulary=6, seed=0, logits=False, scale=1.0):
        rng = np.random.default_rng(seed)
        shape = (len(lengths), vocabulary, vocabulary)
        raw = scale * rng.normal(size=shape)
        self.log_prob = log_softmax(raw)
        self.table = (raw if logits else self.log_prob).astype("float32")
        self.lengths = np.array(lengths)
        self.mask = np.arange(max(lengths)) < self.lengths[:, None]
        attention = rng.exponential(size=(*shape[:2], max(lengths)))
        attention = attention * self.mask[:, None]
        attention /= attention.sum(-1, keepdims=True)
        self.attention = attention.astype("float32")

    def search(self, options, max_lengths, chosen=None, pad=0, **kwargs):
        """Searches some of the sentences, with `pad` columns of padding."""
        rows = np.arange(len(self.lengths)) if chosen is None else chosen
        return compiled_search(self.table.shape[-1], options, **kwargs)(
            self.table[rows],
            np.pad(self.attention[rows], [(0, 0), (0, 0), (0, pad)]),
            np.pad(self.mask[rows], [(0, 0), (0, pad)]),
            np.array(max_lengths, "int32")[rows],
        )

    def evaluate(self, sentence, ids):
        """Log probability and attention sums of one output, by hand."""
        last, log_prob = BOS, 0.0
        coverage = np.zeros(self.attention.shape[-1])
        for token in ids:
            log_prob += self.log_prob[sentence, last, token]
            coverage += self.attention[sentence, last]
            last = token
        return log_prob, coverage

    def score(self, sentence, ids, options):
        """Equation 14 of GNMT, by hand."""
        log_prob, coverage = self.evaluate(sentence, ids)
        lp = ((5 + len(ids)) / 6) ** options.length_penalty
        coverage = coverage[: self.lengths[sentence]]
        cp = sum(math.log(max(min(c, 1.0), 1e-6)) for c in coverage)
        return log_prob / lp + options.coverage_penalty * cp


def outputs(hypotheses, sentence):
    """The n outputs of a sentence as tuples without padding."""
    return [
        tuple(ids[:length])
        for ids, length in zip(
            hypotheses.ids[sentence].numpy(),
            hypotheses.lengths[sentence].numpy(),
            strict=True,
        )
    ]
