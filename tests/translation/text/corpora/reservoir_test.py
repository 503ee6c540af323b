"""A sample is even, repeatable and as large as it can be."""

import collections
import math

import pytest

from translation.text.corpora.reservoir import reservoir


def test_no_more_than_there_are():
    assert reservoir(iter("abc"), 3, seed=1) == ["a", "b", "c"]
    assert reservoir([], 3, seed=1) == []


@pytest.mark.parametrize("size", [1, 7, 99])
def test_size_and_seed(size):
    first, again, other = (reservoir(range(100), size, s) for s in (1, 1, 2))
    assert len(set(first)) == size
    assert first == again != other


def test_every_item_is_equally_likely():
    # 6,000 samples of 5 of 20: each item in a quarter of them. Four standard
    # deviations of a share are 4 sqrt(3/16 / 6,000) = 0.022.
    counts = collections.Counter()
    for seed in range(6_000):
        counts.update(reservoir(range(20), 5, seed))
    assert len(counts) == 20
    for count in counts.values():
        assert abs(count / 6_000 - 0.25) < 0.022


def test_a_stream_far_longer_than_the_sample():
    # The mean of 2,000 even draws below 1: 1/2 with a standard deviation of
    # sqrt(1/12 / 2,000) = 0.0065.
    sample = reservoir(range(300_000), 2_000, seed=3)
    mean = math.fsum(sample) / 2_000 / 300_000
    assert abs(mean - 0.5) < 4 * 0.0065
