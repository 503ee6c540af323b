"""Mutual information, against sums over tables and against chance."""

import math

import numpy as np
import pytest

from moe_keras.analysis import Factor, information, measure_information
from moe_keras.analysis.information import entropy, pointwise_information


@pytest.fixture
def random():
    return np.random.default_rng(0)


def _by_table(x, y, given):
    """I(x; y | given), as the sum over all cells of the definition."""
    total = 0.0
    for g in set(given.tolist()):
        here = given == g
        for a in set(x[here].tolist()):
            for b in set(y[here].tolist()):
                both = np.mean((x == a) & (y == b) & here)
                if both:
                    share = both * np.mean(here) / np.mean((x == a) & here)
                    total += both * math.log2(share / np.mean((y == b) & here))
    return total


def _factor(values, **more):
    return Factor("factor", values, np.arange(len(values)), **more)


def test_known_distribution_worked_by_hand():
    # p(x, y) = [[1/2, 0], [1/4, 1/4]]: H(x) = 1, H(x, y) = 3/2 and H(y) =
    # H(1/4) = 0.8113 bits, so I = 1 + 0.8113 - 1.5.
    x = np.array([0, 0, 1, 1] * 25)
    y = np.array([0, 0, 0, 1] * 25)
    found, by_expert = measure_information(x, _factor(y))
    h = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    assert found.bits == pytest.approx(h - 0.5)
    assert found.possible == pytest.approx(1.0)
    # Expert 0 has only y = 0, log2(1 / (3/4)) bits; with what chance shows
    # taken off, the two, of equal load, have the mean of the whole.
    own = pointwise_information(x, y, np.zeros(100, "int64"))
    assert own[x == 0].mean() == pytest.approx(math.log2(4 / 3))
    assert by_expert[0] < math.log2(4 / 3)
    assert by_expert.mean() == pytest.approx(found.corrected)


@pytest.mark.parametrize("tallied", [0, 10**6])
def test_sums_over_all_cells_agree(tallied, monkeypatch, random):
    monkeypatch.setattr(information, "_TALLIED", tallied)
    x, given = random.integers(0, 3, (2, 200))
    y = (x + random.integers(0, 2, 200) + given) % 4
    nothing = np.zeros(200, "int64")
    for condition in (nothing, given):
        bits = pointwise_information(x, y, condition).mean()
        assert bits == pytest.approx(_by_table(x, y, condition))
    assert pointwise_information(x, x, nothing).mean() == pytest.approx(
        entropy(x)
    )


def test_what_chance_shows_is_taken_off(random):
    x, y = random.integers(0, 8, 4000), random.integers(0, 50, 4000)
    found, by_expert = measure_information(x, _factor(y))
    # Miller and Madow: two independent variables show (8-1)(50-1) / (2 N ln 2)
    # bits in N draws.
    bias = 7 * 49 / (2 * 4000 * math.log(2))
    assert found.bits == pytest.approx(bias, rel=0.2)
    assert found.shuffled_mean == pytest.approx(bias, rel=0.1)
    assert abs(found.corrected) < 4 * found.shuffled_spread
    assert abs(found.share) < 0.003 and not found.is_seen
    assert np.abs(by_expert).max() < 0.03


def test_weak_dependence_is_told_from_chance(random):
    x = random.integers(0, 8, 40_000)
    y = np.where(random.random(40_000) < 0.1, x, random.integers(0, 8, 40_000))
    found, _ = measure_information(x, _factor(y))
    # p(x, y) = 1/64 + 0.1 (1/8 - 1/64) on the diagonal, 0.9 / 64 elsewhere.
    same, other = 1.7 / 64, 0.9 / 64
    true = 8 * same * math.log2(64 * same) + 56 * other * math.log2(64 * other)
    assert found.is_seen
    assert found.corrected == pytest.approx(true, abs=0.005)


def test_choices_of_a_sentence_are_no_witnesses_each(
    random,
):
    # 40 sentences of 30 choices; each sentence has a favourite expert, and a
    # label that means nothing.
    sentence = np.repeat(np.arange(40), 30)
    expert = random.integers(0, 4, 40)[sentence]
    label = random.integers(0, 2, 40)
    found, _ = measure_information(expert, Factor("label", label, sentence))
    assert not found.is_seen
    alone, _ = measure_information(expert, _factor(label[sentence]))
    assert alone.is_seen  # as it would be if each choice were a witness


def test_nothing_is_left_of_place_once_the_token_is_known(random):
    token = random.integers(0, 5, 3000)
    place = (token + random.integers(0, 2, 3000)) % 5  # tokens have places
    expert = (token + random.integers(0, 2, 3000)) % 5  # and experts
    found, _ = measure_information(expert, _factor(place))
    assert found.is_seen and found.share > 0.1
    known, _ = measure_information(
        expert,
        _factor(place, given_name="token", given=token, within=token),
    )
    assert not known.is_seen and abs(known.share) < 0.01


def test_equal_seeds_agree_and_others_differ(random):
    x, y = random.integers(0, 4, (2, 100))
    same = [measure_information(x, _factor(y), seed=7)[0] for _ in range(2)]
    assert same[0] == same[1]
    other, _ = measure_information(x, _factor(y), seed=8)
    assert other.shuffled_mean != same[0].shuffled_mean


def test_one_shuffle_has_no_spread():
    with pytest.raises(ValueError, match="`shuffles` must be at least 2.*=1"):
        measure_information(np.zeros(3, int), _factor(np.arange(3)), shuffles=1)
