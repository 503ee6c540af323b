"""Constraints on outputs, against all outputs that there are."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from markov_tables import EOS, Markov, compiled_search, outputs

from translation.search.beam_options import BeamOptions, SentenceOptions
from translation.search.constraints import Constraints, constrain

LONGEST = [6, 4, 5]


def meets(ids, prefix=(), min_length=0, size=0):
    """Whether an output, eos included, meets the constraints, in loops."""
    words = ids[:-1]
    if words[: len(prefix)] != tuple(prefix) or len(ids) < min_length:
        return False
    for end in range(len(prefix) + 1, len(words) + 1):
        ngram = words[end - size : end] if end >= size > 0 else None
        before = [words[i : i + size] for i in range(end - size)]
        if ngram is not None and ngram in before:
            return False
    return True


def scores_of_all(model, sentence, options, longest, **constraints):
    """The scores of all outputs that meet the constraints, by output."""
    everything = [
        (*words, EOS)
        for length in range(longest)
        for words in itertools.product([3, 4, 5], repeat=length)
    ]
    return {
        y: model.score(sentence, y, options)
        for y in everything
        if meets(y, **constraints)
    }


def search(model, options, longest=LONGEST, **kwargs):
    found = compiled_search.__wrapped__(6, options, **kwargs)(
        model.table, model.attention, model.mask, np.array(longest, "int32")
    )
    return found


def check(found, model, options, constraints, longest=LONGEST):
    """The four best outputs were found; equal scores may change places."""
    for sentence, wanted in enumerate(constraints):
        scores = scores_of_all(
            model, sentence, options, longest[sentence], **wanted
        )
        best = sorted(scores.values(), reverse=True)[:4]
        mine = [y for y in outputs(found, sentence) if y]
        assert len(set(mine)) == len(mine) == len(best)
        np.testing.assert_allclose([scores[y] for y in mine], best, 1e-5)
        np.testing.assert_allclose(
            found.scores[sentence, : len(best)], best, rtol=1e-5
        )


class TestBruteForce:
    """A beam of 600 loses none of the 364 outputs of at most 6 tokens."""

    @pytest.fixture
    def model(self):
        # Scores that favour repetition, and short outputs.
        model = Markov([3, 2, 4], seed=1)
        model.table[:, 3, 3] += 1.5
        model.table[:, :, EOS] += 0.5
        norm = np.log(np.exp(model.table).sum(-1, keepdims=True))
        model.log_prob = model.table - norm
        return model

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "constraints",
        [
            {"min_length": 5},
            {"size": 1},
            {"size": 2},
            {"size": 3},
            {"min_length": 4, "size": 2},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("beta", [0.0, 0.4])
    def test_options_of_the_search(self, model, constraints, beta):
        names = {"size": "no_repeat_ngram_size"}
        fields = {names.get(k, k): v for k, v in constraints.items()}
        options = BeamOptions(600, 4, 0.7, beta, **fields)
        # No output can be longer than the longest.
        least = constraints.get("min_length", 0)
        wanted = [constraints | {"min_length": min(least, n)} for n in LONGEST]
        check(search(model, options), model, options, wanted)

    @pytest.mark.parametrize("size", [0, 1, 2])
    def test_prefixes_of_each_sentence(self, model, size):
        options = BeamOptions(600, 4, 0.7, 0.2, no_repeat_ngram_size=size)
        prefixes = [(4, 4, 5), (), (5,)]
        ids = tf.constant([[4, 4, 5], [0, 0, 0], [5, 0, 0]])
        found = search(model, options, prefix_ids=ids)
        wanted = [{"prefix": prefix, "size": size} for prefix in prefixes]
        check(found, model, options, wanted)

    def test_sentences_of_one_batch_with_constraints_of_their_own(self, model):
        longest = [6, 6, 6]
        sentences = SentenceOptions(
            beam_width=tf.constant([600] * 3),
            length_penalty=tf.constant([0.7] * 3),
            coverage_penalty=tf.constant([0.2] * 3),
            min_length=tf.constant([0, 5, 3]),
            no_repeat_ngram_size=tf.constant([2, 0, 1]),
        )
        options = BeamOptions(600, 4, 0.7, 0.2)
        found = search(
            model,
            options,
            longest,
            sentence_options=sentences,
            prefix_ids=tf.constant([[3, 3], [0, 0], [5, 0]]),
        )
        wanted = [
            {"prefix": (3, 3), "size": 2},
            {"min_length": 5},
            {"prefix": (5,), "min_length": 3, "size": 1},
        ]
        check(found, model, options, wanted, longest)

    def test_a_prefix_makes_room_for_itself(self, model):
        options = BeamOptions(5, 1, coverage_penalty=0.0)
        ids = tf.constant([[3, 4, 5, 3, 4], [3, 0, 0, 0, 0], [4, 5, 0, 0, 0]])
        found = search(model, options, [2, 2, 2], prefix_ids=ids)
        assert outputs(found, 0) == [(3, 4, 5, 3, 4, EOS)]
        assert outputs(found, 1) == [(3, EOS)]
        assert outputs(found, 2) == [(4, 5, EOS)]

    @pytest.mark.parametrize("early_stop", [True, False])
    def test_narrow_beams_meet_them_too(self, early_stop):
        model = Markov([4] * 40, vocabulary=9, seed=5, scale=2.0)
        options = BeamOptions(
            *(3, 2, 0.6, 0.2),
            early_stop=early_stop,
            min_length=6,
            no_repeat_ngram_size=2,
        )
        found = model.search(options, [12] * 40)
        for sentence in range(40):
            for ids in outputs(found, sentence):
                assert meets(ids, min_length=6, size=2)

    def test_batch_mates_change_nothing(self, model):
        options = BeamOptions(4, 3, min_length=3, no_repeat_ngram_size=2)
        together = model.search(options, LONGEST)
        for sentence in range(3):
            alone = model.search(options, LONGEST, [sentence], pad=2)
            assert outputs(alone, 0) == outputs(together, sentence)


class TestConstrain:
    def test_ngrams_of_random_histories(self):
        rng = np.random.default_rng(3)
        ids = rng.integers(3, 6, size=(60, 9))
        ids[:, 0] = 1
        sizes = rng.integers(0, 6, 60)
        for time in (0, 1, 4, 8):
            found = constrain(
                tf.zeros([60, 6]),
                tf.constant(ids, tf.int32),
                time,
                Constraints(
                    tf.zeros([60, 0], tf.int32),
                    tf.zeros([60], tf.int32),
                    tf.constant(sizes, tf.int32),
                ),
                EOS,
            )
            for row, size in enumerate(sizes):
                words = tuple(ids[row, 1 : time + 1])
                for token in (3, 4, 5):
                    ngram = (*words, token)[-size:] if size else ()
                    before = [
                        words[i : i + size]
                        for i in range(len(words) - size + 1)
                    ]
                    repeats = len(ngram) == size > 0 and ngram in before
                    assert np.isneginf(found[row, token]) == repeats
                assert np.all(found[row, :3] == 0)  # never eos

    def test_nothing_to_do_leaves_the_scores_alone(self):
        scores = tf.random.normal([2, 5])
        none = Constraints(
            tf.zeros([2, 0], tf.int32), tf.zeros([2], tf.int32), [0, 0]
        )
        none = none._replace(no_repeat_ngram_size=tf.constant([0, 0]))
        found = constrain(scores, tf.constant([[1, 3]] * 2), 1, none, EOS)
        np.testing.assert_array_equal(found, scores)
