"""Drawn outputs, against the probabilities of all outputs."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from markov_tables import BOS, EOS, Markov

from translation.search.constraints import Constraints
from translation.search.sampling import NEVER, Sampling, draw, sample, uniforms

COUNT = 20_000
CASES = [
    {},
    {"temperature": 0.5},
    {"temperature": 2.0},
    {"top_k": 2},
    {"top_p": 0.7},
    {"temperature": 1.5, "top_k": 3, "top_p": 0.8},
    {"temperature": 0.0},
    {"temperature": 0.7, "prefix": (4, 4)},
    {"top_p": 0.9, "min_length": 3},
    {"top_k": 3, "size": 1},
    {"prefix": (3, 5, 3), "size": 2, "min_length": 5},
]


def next_probabilities(log_probs, temperature=1.0, top_k=0, top_p=1.0):
    """Of one token, by sorting; `-inf` stays out."""
    scores = np.array(log_probs, "float64")
    order = np.argsort(-scores, kind="stable")
    order = [i for i in order if np.isfinite(scores[i])]
    if temperature == 0:
        return {order[0]: 1.0}
    heat = np.exp((scores - scores.max()) / temperature)
    order = order[: top_k or None]
    total = sum(heat[i] for i in order)
    left, sum_left = [], 0.0
    for i in order:
        if sum_left < top_p * total:
            left.append(i)
            sum_left += heat[i]
    return {i: heat[i] / sum_left for i in left}


def all_outputs(table, longest, case):
    """Probabilities of all outputs, by walking through the tree of them."""
    case = dict(case)
    prefix = case.pop("prefix", ())
    least, size = case.pop("min_length", 0), case.pop("size", 0)
    found, waiting = {}, [((), 1.0)]
    while waiting:
        words, probability = waiting.pop()
        scores = table[words[-1] if words else BOS].copy()
        scores[[0, BOS]] = -np.inf
        if len(words) + 1 < least:
            scores[EOS] = -np.inf
        for start in range(len(words) - size + 1 if size else 0):
            if (
                words[start : start + size - 1]
                == words[len(words) + 1 - size :]
            ):
                scores[words[start + size - 1]] = -np.inf
        allowed = range(len(scores))
        if len(words) < len(prefix):
            scores = table[words[-1] if words else BOS].copy()
            allowed = [prefix[len(words)]]
        elif len(words) + 1 >= max(longest, len(prefix) + 1 if prefix else 0):
            scores = table[words[-1] if words else BOS].copy()
            allowed = [EOS]
        scores[[i for i in range(len(scores)) if i not in allowed]] = -np.inf
        for token, p in next_probabilities(scores, **case).items():
            if token == EOS:
                found[(*words, EOS)] = probability * p
            else:
                waiting.append(((*words, token), probability * p))
    return found


def draws(model, longest, count, case, chosen=None, seeds=None):
    """Outputs of each sentence of a table; a case for each sentence or all."""
    rows = np.arange(len(longest)) if chosen is None else np.array(chosen)
    cases = case if isinstance(case, list) else [case] * len(longest)
    cases = [cases[row] for row in rows]

    def step(ids, state, memory):
        scores = tf.gather(memory, ids, batch_dims=1)
        return tf.ensure_shape(scores, [None, 6]), state

    def column(name, default, dtype):
        return tf.constant([x.get(name, default) for x in cases], dtype)

    prefixes = [x.get("prefix", ()) for x in cases]
    width = max(map(len, prefixes), default=0)
    padded = [[*x, *[0] * (width - len(x))] for x in prefixes]
    constraints = Constraints(
        tf.reshape(tf.constant(padded, tf.int32), [len(rows), width]),
        column("min_length", 0, tf.int32),
        column("size", 0, tf.int32),
    )
    seeds = [[7, row] for row in rows] if seeds is None else seeds
    sampling = Sampling(
        column("temperature", 1.0, tf.float32),
        column("top_k", 0, tf.int32),
        column("top_p", 1.0, tf.float32),
        tf.reshape(tf.constant(seeds, tf.int32), [-1, 2]),
    )
    run = tf.function(sample, autograph=False)
    return run(
        step,
        (),
        tf.constant(np.array(longest)[rows], tf.int32),
        sampling,
        count=count,
        memory=tf.constant(model.table[rows]),
        constraints=constraints,
    )


def written(samples, sentence):
    return [
        tuple(ids[:length].tolist())
        for ids, length in zip(
            samples.ids[sentence].numpy(),
            samples.lengths[sentence].numpy(),
            strict=True,
        )
    ]


class TestBruteForce:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_outputs_come_as_often_as_they_are_probable(self, case):
        model = Markov([2], seed=3)
        expected = all_outputs(model.log_prob[0], 4, case)
        assert sum(expected.values()) == pytest.approx(1.0)
        samples = draws(model, [4], COUNT, case)
        outs = written(samples, 0)
        assert set(outs) <= set(expected)
        for output, p in expected.items():
            # Five standard deviations of a binomial distribution.
            off = 5 * np.sqrt(COUNT * p * (1 - p)) + 1e-6
            assert abs(outs.count(output) - COUNT * p) <= off

    def test_log_probabilities_are_those_of_the_model(self):
        model = Markov([2, 3], seed=4)
        case = {"temperature": 3.0, "top_p": 0.9, "min_length": 3}
        samples = draws(model, [7, 5], 50, case)
        for sentence in range(2):
            for n, ids in enumerate(written(samples, sentence)):
                log_prob, _ = model.evaluate(sentence, ids)
                np.testing.assert_allclose(
                    samples.log_probs[sentence, n], log_prob, rtol=1e-5
                )
                each = samples.token_log_probs[sentence, n].numpy()
                np.testing.assert_allclose(each.sum(), log_prob, rtol=1e-5)
                assert np.all(each[len(ids) :] == 0)

    def test_batch_mates_change_nothing(self):
        model = Markov([2, 3, 4, 2], seed=5)
        longest = [9, 5, 12, 7]
        cases = [
            {"top_k": 2},
            {},
            {"top_p": 0.6, "prefix": (4, 3)},
            {"temperature": 0.3, "size": 2},
        ]
        together = draws(model, longest, 20, cases)
        for sentence in range(4):
            alone = draws(model, longest, 12, cases, [sentence])
            assert written(alone, 0) == written(together, sentence)[:12]

    def test_other_seeds_give_other_outputs(self):
        model = Markov([2, 2], seed=6)
        model.table[1] = model.table[0]
        same = draws(model, [9, 9], 20, {}, seeds=[[1, 2], [1, 2]])
        assert written(same, 0) == written(same, 1)
        for seeds in ([[1, 2], [2, 2]], [[1, 2], [1, 3]]):
            other = draws(model, [9, 9], 20, {}, seeds=seeds)
            assert written(other, 0) == written(same, 0)
            assert written(other, 1) != written(same, 1)


class TestEdges:
    def test_an_empty_batch_gives_an_empty_result(self):
        samples = draws(Markov([2]), [4], 3, [{}], chosen=np.array([], int))
        assert samples.ids.shape == (0, 3, 0)

    def test_where_no_token_is_left_there_is_no_output(self):
        # Three words, none twice, and no end before the sixth token.
        case = {"size": 1, "min_length": 6}
        samples = draws(Markov([2]), [9], 4, case)
        assert samples.lengths.numpy().tolist() == [[0] * 4]
        assert np.all(samples.log_probs == NEVER)
        assert not np.any(samples.ids)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_scores_that_are_not_finite_spoil_only_their_sentence(self, bad):
        model = Markov([2, 2, 2], seed=7)
        expected = draws(model, [6] * 3, 5, {})
        model.table[1, :, 4] = bad
        found = draws(model, [6] * 3, 5, {})
        assert np.all(found.lengths[1] == 0)
        for sentence in (0, 2):
            assert written(found, sentence) == written(expected, sentence)


class TestDraw:
    @pytest.mark.parametrize("size", [7, 500])
    @pytest.mark.parametrize(
        "case",
        [{}, {"top_k": 3}, {"top_p": 0.95}, {"top_k": 40, "top_p": 0.5}],
        ids=str,
    )
    def test_each_token_has_its_share_of_the_line(self, size, case):
        rng = np.random.default_rng(size)
        # Rounded, so that there are ties, which go to the lower id.
        scores = np.round(rng.normal(size=size), 1).astype("float32")
        count = 4000
        uniform = (np.arange(count) + 0.5) / count
        sampling = Sampling(
            tf.fill([count], 0.8),
            tf.fill([count], case.get("top_k", 0)),
            tf.fill([count], case.get("top_p", 1.0)),
            None,
        )
        found = draw(tf.tile(scores[None], [count, 1]), sampling, uniform)
        expected = next_probabilities(scores, 0.8, **case)
        assert set(found.numpy()) <= set(expected)
        for token, p in expected.items():
            share = np.mean(found.numpy() == token)
            assert abs(share - p) <= 1.5 / count

    def test_uniforms_are_even_and_independent(self):
        seeds = tf.constant([*itertools.product(range(20), range(20))])
        found = np.stack(
            [
                uniforms(seeds, tf.fill([400], n), time)
                for n, time in itertools.product(range(5), range(5))
            ]
        )
        counts, _ = np.histogram(found, 10, (0, 1))
        # 10,000 numbers in 10 parts: 1000 each, standard deviation 30.
        assert np.all(np.abs(counts - 1000) < 120)
        correlations = np.corrcoef(found) - np.eye(25)
        assert np.all(np.abs(correlations) < 5 / np.sqrt(400))
