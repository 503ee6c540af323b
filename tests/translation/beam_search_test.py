"""Beam search, held against plain Python on lookup tables."""

import functools
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from translation.beam_options import BeamOptions, Wishes, length_penalty
from translation.beam_search import beam_search

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

    return tf.function(search, reduce_retracing=True)


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


OPTIONS = [
    BeamOptions(600, 4, length_penalty=0.0, coverage_penalty=0.0),
    BeamOptions(600, 4, length_penalty=1.0, coverage_penalty=0.0),
    BeamOptions(600, 4, length_penalty=0.7, coverage_penalty=0.4),
    BeamOptions(600, 4, 0.7, 0.4, early_stop=False),
]


class TestBruteForce:
    @pytest.mark.parametrize("options", OPTIONS)
    def test_a_wide_beam_finds_the_best_of_all_outputs(self, options):
        # Tokens 3, 4 and 5, then eos: 1 + 3 + 9 + ... + 243 = 364 outputs of
        # at most 6 tokens, so a beam of 600 loses none.
        model, longest = Markov([3, 2], seed=1), [6, 4]
        found = model.search(options, longest)
        for sentence in range(2):
            everything = [
                (*words, EOS)
                for length in range(longest[sentence])
                for words in itertools.product([3, 4, 5], repeat=length)
            ]
            scores = [model.score(sentence, y, options) for y in everything]
            best = np.argsort(scores)[::-1][:4]
            expected = [everything[i] for i in best]
            assert outputs(found, sentence) == expected
            np.testing.assert_allclose(
                found.scores[sentence], np.array(scores)[best], rtol=1e-5
            )

    def test_scores_follow_from_the_formulas(self):
        model = Markov([4, 3, 5], vocabulary=30, seed=2)
        options = BeamOptions(5, 5, 0.9, 0.3)
        found = model.search(options, [9, 7, 12])
        for sentence in range(3):
            for n, ids in enumerate(outputs(found, sentence)):
                log_prob, _ = model.evaluate(sentence, ids)
                assert ids[-1] == EOS and len(ids) <= [9, 7, 12][sentence]
                np.testing.assert_allclose(
                    found.log_probs[sentence, n], log_prob, rtol=1e-5
                )
                np.testing.assert_allclose(
                    found.scores[sentence, n],
                    model.score(sentence, ids, options),
                    rtol=1e-5,
                )
        assert np.all(np.diff(found.scores, axis=1) <= 0)


class TestGreedy:
    @pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
    def test_a_beam_of_one_is_greedy_search(self, scale):
        model = Markov([3] * 40, vocabulary=9, seed=3, scale=scale)
        options = BeamOptions(1, coverage_penalty=0.0)
        found = model.search(options, [8] * 40)
        for sentence in range(40):
            ids = [BOS]
            while ids[-1] != EOS and len(ids) < 8:
                scores = model.log_prob[sentence, ids[-1]].copy()
                scores[[0, BOS]] = -np.inf
                ids.append(int(scores.argmax()))
            if ids[-1] != EOS:  # the eighth and last token has to be eos
                ids.append(EOS)
            assert outputs(found, sentence) == [tuple(ids[1:])]


class TestIndependence:
    OPTIONS = BeamOptions(4, 3, 0.9, 0.3)

    def setup_method(self):
        self.longest = [5, 9, 30, 7, 12, 60]
        self.model = Markov([3, 4, 6, 2, 5, 9], vocabulary=12, seed=4)
        self.together = self.model.search(self.OPTIONS, self.longest)

    @pytest.mark.parametrize("pad", [0, 7])
    def test_a_sentence_alone_gives_what_it_gives_in_a_batch(self, pad):
        for sentence in range(6):
            alone = self.model.search(
                self.OPTIONS, self.longest, [sentence], pad
            )
            assert outputs(alone, 0) == outputs(self.together, sentence)
            np.testing.assert_allclose(
                alone.scores[0], self.together.scores[sentence], rtol=1e-5
            )

    def test_the_order_of_sentences_is_kept(self):
        order = [5, 2, 0, 4, 1, 3]
        shuffled = self.model.search(self.OPTIONS, self.longest, order)
        for place, sentence in enumerate(order):
            assert outputs(shuffled, place) == outputs(self.together, sentence)

    @pytest.mark.parametrize("alpha, beta", [(0.0, 0.0), (0.6, 0.4), (1, 0)])
    def test_early_stop_changes_nothing(self, alpha, beta):
        model = Markov([4] * 60, vocabulary=10, seed=5, scale=2.0)
        longest = list(range(1, 61))
        full = BeamOptions(4, 2, alpha, beta, early_stop=False)
        quick = BeamOptions(4, 2, alpha, beta)
        expected = model.search(full, longest)
        found = model.search(quick, longest)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)

    def test_early_stop_does_not_widen_the_beam(self):
        # W = 3. The first step finishes (eos) and keeps 3 and the hopeless 4,
        # which ends in the second and takes the slot that (3 5 7) would need
        # in the third. (3 5 7 eos) would win: .6 * .49 against .6 * .5 * .5.
        table = np.full((8, 8), 1e-9)
        table[1, [2, 3, 4]] = 0.3, 0.6, 1e-4
        table[3, 5] = table[4, 2] = table[7, 2] = 1.0
        table[5, [6, 7]] = 0.5, 0.49
        table[6, 2] = 0.5
        table[:, 0] = np.maximum(1e-9, 1 - table[:, 1:].sum(axis=1))
        model = Markov([2], vocabulary=8)
        model.table = np.log(table)[None].astype("float32")
        for early_stop in (True, False):
            options = BeamOptions(3, 1, 0.9, 0.0, early_stop=early_stop)
            found = model.search(options, [4])
            assert outputs(found, 0) == [(EOS,)]

    def test_the_best_is_the_same_whatever_the_number_returned(self):
        one = self.model.search(BeamOptions(5, 1, 0.9, 0.3), self.longest)
        five = self.model.search(BeamOptions(5, 5, 0.9, 0.3), self.longest)
        for sentence in range(6):
            best = outputs(five, sentence)[0]
            assert outputs(one, sentence) == [best]
        np.testing.assert_array_equal(one.scores[:, 0], five.scores[:, 0])

    def test_logits_give_what_log_probabilities_give(self):
        logits = Markov([3, 4, 6, 2, 5, 9], 12, seed=4, logits=True)
        found = logits.search(self.OPTIONS, self.longest)
        np.testing.assert_array_equal(found.ids, self.together.ids)
        np.testing.assert_allclose(
            found.scores, self.together.scores, rtol=1e-5
        )


class TestWishes:
    """Sentences of one batch that differ in what they ask for."""

    WIDTHS = [4, 1, 3, 2, 4, 3]
    ALPHAS = [0.9, 0.0, 0.6, 1.0, 0.2, 0.9]
    BETAS = [0.3, 0.0, 0.0, 0.5, 1.0, 0.2]

    @pytest.mark.parametrize("early_stop", [True, False])
    def test_each_gets_what_a_search_of_its_own_would_give(self, early_stop):
        longest = np.array([5, 9, 30, 7, 12, 60], "int32")
        model = Markov([3, 4, 6, 2, 5, 9], vocabulary=12, seed=4)
        wishes = Wishes(
            tf.constant(self.WIDTHS),
            tf.constant(self.ALPHAS),
            tf.constant(self.BETAS),
        )
        search = compiled_search.__wrapped__(
            12, BeamOptions(4, 3, early_stop=early_stop), wishes=wishes
        )
        found = search(model.table, model.attention, model.mask, longest)
        for sentence, width in enumerate(self.WIDTHS):
            count = min(width, 3)
            options = BeamOptions(
                width, count, self.ALPHAS[sentence], self.BETAS[sentence]
            )
            alone = model.search(options, longest, [sentence])
            assert outputs(found, sentence)[:count] == outputs(alone, 0)
            np.testing.assert_allclose(
                found.scores[sentence, :count], alone.scores[0], rtol=1e-5
            )
            assert np.all(found.lengths[sentence, count:] == 0)


class TestEdges:
    OPTIONS = BeamOptions(3, 2, coverage_penalty=0.0)

    def search(self, log_probs, longest=(4,), options=OPTIONS, **kwargs):
        """Searches with the same scores at every step."""

        def step(ids, state):
            scores = tf.convert_to_tensor(log_probs, tf.float32)[None]
            return tf.tile(scores, [tf.size(ids), 1]), state

        return beam_search(
            step, (), tf.constant(longest, tf.int32), options, **kwargs
        )

    def test_an_empty_batch_gives_an_empty_result(self):
        model = Markov([3, 2])
        found = model.search(BeamOptions(3, 2), [5, 4], chosen=[])
        assert found.ids.shape == (0, 2, 0)
        assert found.scores.shape == (0, 2)

    def test_what_is_unfinished_at_the_maximum_length_ends_there(self):
        # eos is always the least likely; log P = 2 log 0.9 + log 0.1.
        log_probs = np.log([1e-9, 1e-9, 0.1, 0.9])
        options = BeamOptions(1, coverage_penalty=0.0)
        found = self.search(log_probs, [3], options)
        assert outputs(found, 0) == [(3, 3, EOS)]
        np.testing.assert_allclose(
            found.log_probs[0, 0], 2 * np.log(0.9) + np.log(0.1), rtol=1e-5
        )

    def test_forbidden_tokens_are_never_chosen(self):
        log_probs = np.log([0.5, 0.3, 0.02, 0.08, 0.1])
        found = self.search(log_probs, [4, 2], forbidden_ids=(0, 1, 3))
        assert set(found.ids.numpy().ravel()) == {0, EOS, 4}
        for sentence in range(2):
            for ids in outputs(found, sentence):
                assert set(ids) <= {EOS, 4}

    def test_ties_go_to_the_lower_token(self):
        options = BeamOptions(2, 2, coverage_penalty=0.0)
        found = self.search([-9.0, -9.0, -1.0, -1.0, -1.0], [2], options)
        # (eos) first; then (3 eos) ties with (4 eos).
        assert outputs(found, 0) == [(EOS,), (3, EOS)]

    def test_a_beam_wider_than_all_outputs_leaves_places_empty(self):
        # At most 2 tokens out of {3, eos}: (eos) and (3 eos).
        options = BeamOptions(8, 4, coverage_penalty=0.0)
        found = self.search(np.log([0.1, 0.1, 0.3, 0.5]), [2], options)
        assert outputs(found, 0)[:2] == [(EOS,), (3, EOS)]
        assert outputs(found, 0)[2:] == [(), ()]
        assert np.all(found.scores[0, 2:] == -np.inf)
        assert np.all(found.ids[0, 2:] == 0)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_scores_that_are_not_finite_spoil_only_their_sentence(self, bad):
        model = Markov([3, 4, 2], seed=5)
        options = BeamOptions(3, 2, 0.8, 0.2)
        expected = model.search(options, [6, 6, 6])
        model.table[1, :, 4] = bad
        found = model.search(options, [6, 6, 6])
        assert outputs(found, 1) == [(), ()]
        assert np.all(found.scores[1] == -np.inf)
        for sentence in (0, 2):
            assert outputs(found, sentence) == outputs(expected, sentence)

    def test_a_token_of_probability_zero_is_not_chosen(self):
        found = self.search([-1e9, -1e9, -1.0, -np.inf], [5])
        assert outputs(found, 0) == [(EOS,), ()]

    def test_alignments_are_the_attention_of_each_output_step(self):
        model = Markov([3, 5], vocabulary=12, seed=6)
        options = BeamOptions(4, 3, 1.0, 0.0)
        found = model.search(options, [7, 9], return_alignments=True)
        for sentence in range(2):
            for n, ids in enumerate(outputs(found, sentence)):
                read = np.array([BOS, *ids[:-1]])
                rows = found.alignments[sentence, n, : len(ids)]
                np.testing.assert_allclose(
                    rows, model.attention[sentence, read]
                )
                assert not np.any(found.alignments[sentence, n, len(ids) :])

    def test_attention_is_required_for_coverage(self):
        with pytest.raises(ValueError, match="coverage_penalty=0"):
            self.search([0.0] * 4, options=BeamOptions())

    def test_eos_cannot_be_forbidden(self):
        with pytest.raises(ValueError, match="`eos_id`"):
            self.search([0.0] * 4, forbidden_ids=(0, 2))


class TestPruning:
    def test_only_tokens_near_the_best_of_a_step_are_followed(self):
        # 4 is less than a nat below 3, 5 is more than a nat below; so is eos,
        # but it is all that may come last.
        log_probs = np.log([1e-9, 1e-9, 0.1, 0.5, 0.3, 0.1])
        options = BeamOptions(9, 9, coverage_penalty=0.0, prune=1.0)
        found = TestEdges().search(log_probs, [3], options)
        outs = outputs(found, 0)
        assert set(outs[:4]) == {(a, b, EOS) for a in (3, 4) for b in (3, 4)}
        assert outs[4:] == [()] * 5

    @pytest.mark.parametrize("prune, lengths", [(0.5, [1, 0]), (9, [1, 4])])
    def test_what_falls_behind_the_best_finished_is_dropped(
        self, prune, lengths
    ):
        # W = 2: the first step finishes (eos), score log .4 = -.92, and keeps
        # (3); then comes (3 3), at 2 log .45 / (7 / 6) = -1.37, .45 below,
        # and (3 3 3), at 3 log .45 / (8 / 6) = -1.80, .88 below.
        log_probs = np.log([0.15, 1e-9, 0.4, 0.45])
        options = BeamOptions(2, 2, 1.0, 0.0, prune=prune, early_stop=False)
        found = TestEdges().search(log_probs, [4], options)
        assert found.lengths[0].numpy().tolist() == lengths

    def test_generous_pruning_changes_nothing(self):
        model = Markov([3] * 30, vocabulary=9, seed=7)
        plain = BeamOptions(3, 2, 0.8, 0.2)
        pruned = BeamOptions(3, 2, 0.8, 0.2, prune=100.0)
        expected = model.search(plain, [12] * 30)
        found = model.search(pruned, [12] * 30)
        np.testing.assert_array_equal(found.ids, expected.ids)

    def test_a_step_is_asked_for_open_hypotheses_only(self):
        sizes = []

        def step(ids, state):
            sizes.append(len(ids))
            scores = tf.math.log([[0.02, 0.01, 0.3, 0.4, 0.27]])
            return tf.tile(scores, [len(ids), 1]), state

        options = BeamOptions(4, 4, 1.0, 0.0, early_stop=False)
        found = beam_search(step, (), tf.constant([1, 30]), options)
        # A row each at first. Sentence 1 is done then, and 2 has kept (3) and
        # (4) beside the finished (eos). (3 eos) takes a slot, then (3 3 eos).
        assert sizes[:2] == [2, 2]
        assert max(sizes) <= 3 and sizes[-1] == 1
        assert len(sizes) == max(found.lengths[1].numpy())


class TestOptions:
    @pytest.mark.parametrize(
        "bad",
        [
            {"beam_width": 0},
            {"num_translations": 6},
            {"num_translations": 0},
            {"length_penalty": -0.1},
            {"coverage_penalty": float("nan")},
            {"prune": 0.0},
        ],
    )
    def test_what_cannot_be_is_refused_by_name(self, bad):
        with pytest.raises(ValueError, match=f"`{next(iter(bad))}`"):
            BeamOptions(**bad)

    def test_length_penalty_of_the_paper(self):
        # ((5 + 13) / 6) ** 0.5 = sqrt(3)
        np.testing.assert_allclose(length_penalty(13, 0.5), 3**0.5, rtol=1e-6)
