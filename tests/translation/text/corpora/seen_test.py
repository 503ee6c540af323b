"""Pairs seen before are found, in few bytes."""

import random
import tracemalloc

from translation.text.corpora.seen import SeenPairs


def test_as_a_set_would_have_it():
    draw = random.Random(0)
    seen, expected = SeenPairs(), set()
    for size in (1, 5, 300, 2, 700, 40, 40, 40):
        pairs = [
            (str(draw.randrange(30)), str(draw.randrange(30)))
            for _ in range(size)
        ]
        answers = []
        for pair in pairs:
            answers.append(pair in expected)
            expected.add(pair)
        assert seen.add(*zip(*pairs, strict=True)).tolist() == answers


def test_where_a_side_ends_counts():
    assert not SeenPairs().add(["a b", "a"], ["c", "b c"]).any()


def test_eight_bytes_a_pair_and_sixteen_while_merging():
    seen = SeenPairs()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for start in range(0, 32_000, 1_000):
        numbers = [str(i) for i in range(start, start + 1_000)]
        assert not seen.add(numbers, numbers).any()
    del numbers
    now, peak = (size - before for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    assert now < 32_000 * 8 + 20_000
    # Beside the merging there are the 1,000 pairs of a step.
    assert peak < 32_000 * 16 + 400_000
