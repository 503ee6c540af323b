"""Finds pairs of a stream that came before, with 8 bytes for each.

N: pairs that are looked up at once
"""

import hashlib

import numpy as np


class SeenPairs:
    """Remembers pairs by 64 bits of a hash.

    The hashes are kept sorted, in runs each at least twice as long as the
    next, which are merged when they are not: 8 bytes a pair, and 16 while
    the two longest are merged. Among n pairs some new one is taken for a
    repeated one with probability n^2 / 2^65: 1 in 30,000 for 36 million.

    Example:

    >>> seen = SeenPairs()
    >>> seen.add(["a", "b", "a"], ["x", "y", "x"]).tolist()
    [False, False, True]
    >>> seen.add(["b", "b"], ["y", "x"]).tolist()
    [True, False]
    """

    def __init__(self):
        self._runs = []

    def add(self, sources, targets):
        """Tells which pairs came before, and remembers the others.

        Args:
            sources: list of N str.
            targets: list of N str.

        Returns:
            bool array `(N,)`: whether an equal pair stands before it in
            these lists, or was in earlier ones.
        """
        hash_N = _hashes(sources, targets)
        distinct, first = np.unique(hash_N, return_index=True)
        is_old = np.zeros(len(distinct), bool)
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, distinct), len(run) - 1)
            is_old |= run[place] == distinct
        self._remember(distinct[~is_old])
        was_seen_N = np.ones(len(hash_N), bool)
        was_seen_N[first[~is_old]] = False
        return was_seen_N

    def _remember(self, run):
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        self._runs.append(run)


def _hashes(sources, targets):
    """64 bits of each pair: uint64 array `(N,)`."""
    digests = [
        hashlib.blake2b(f"{source}\0{target}".encode(), digest_size=8).digest()
        for source, target in zip(sources, targets, strict=True)
    ]
    return np.frombuffer(b"".join(digests), np.uint64)
