"""Beam search, held against plain Python on lookup tables."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from markov_tables import BOS, EOS, Markov, compiled_search, outputs

from translation.search.beam_options import BeamOptions, SentenceOptions

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


class TestSentenceOptions:
    """Sentences of one batch that differ in what they ask for."""

    WIDTHS = [4, 1, 3, 2, 4, 3]
    ALPHAS = [0.9, 0.0, 0.6, 1.0, 0.2, 0.9]
    BETAS = [0.3, 0.0, 0.0, 0.5, 1.0, 0.2]
    LEAST = [0, 3, 5, 0, 4, 9]
    NGRAMS = [0, 2, 0, 1, 3, 2]

    @pytest.mark.parametrize("early_stop", [True, False])
    def test_each_gets_what_a_search_of_its_own_would_give(self, early_stop):
        longest = np.array([5, 9, 30, 7, 12, 60], "int32")
        model = Markov([3, 4, 6, 2, 5, 9], vocabulary=12, seed=4)
        sentences = SentenceOptions(
            tf.constant(self.WIDTHS),
            tf.constant(self.ALPHAS),
            tf.constant(self.BETAS),
            tf.constant(self.LEAST),
            tf.constant(self.NGRAMS),
        )
        search = compiled_search.__wrapped__(
            12,
            BeamOptions(4, 3, early_stop=early_stop),
            sentence_options=sentences,
        )
        found = search(model.table, model.attention, model.mask, longest)
        for sentence, width in enumerate(self.WIDTHS):
            count = min(width, 3)
            options = BeamOptions(
                *(width, count, self.ALPHAS[sentence], self.BETAS[sentence]),
                min_length=self.LEAST[sentence],
                no_repeat_ngram_size=self.NGRAMS[sentence],
            )
            alone = model.search(options, longest, [sentence])
            assert outputs(found, sentence)[:count] == outputs(alone, 0)
            np.testing.assert_allclose(
                found.scores[sentence, :count], alone.scores[0], rtol=1e-5
            )
            assert np.all(found.lengths[sentence, count:] == 0)
