"""A sample of a stream whose length is not known, in one pass."""

import itertools
import math
import random


def reservoir(items, size, seed):
    """At most `size` items, each equally likely, in bounded memory.

    Li's Algorithm L (1994): it draws how many items to pass over until the
    next one that is taken, so that a long stream costs little.

    Args:
        items: iterable.
        size: int, at least 1.
        seed: int. Equal seeds take the same items of equal streams.

    Returns:
        List. Of no more than `size` items all, in their order.

    Example:

    >>> reservoir("abc", 5, seed=0)
    ['a', 'b', 'c']
    >>> len(reservoir(range(1_000), 5, seed=0))
    5
    """
    items = iter(items)
    sample = list(itertools.islice(items, size))
    draw = random.Random(seed)
    # Logarithm of the largest of `size` uniform numbers that those taken have:
    # an item is taken if its own is below.
    threshold = 0.0
    while True:
        threshold += math.log(_uniform(draw)) / size
        is_passed_over = math.log(-math.expm1(threshold))
        gap = int(math.log(_uniform(draw)) / is_passed_over)
        taken = next(itertools.islice(items, gap, None), _END)
        if taken is _END:
            return sample
        sample[draw.randrange(size)] = taken


_END = object()


def _uniform(draw):
    """Above 0, so that it has a logarithm, and below 1."""
    return (draw.getrandbits(52) + 0.5) / 2**52
