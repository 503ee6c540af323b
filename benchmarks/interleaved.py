"""Fair timing on a busy machine: candidates take turns, medians are compared.

Other work on the machine comes and goes over seconds. Timed one after the
other, candidates meet different weather; in turns of one call each they share
it, and the median ignores the gusts.
"""

import statistics
import time
from typing import NamedTuple


class Times(NamedTuple):
    """Seconds of each round."""

    wall: list
    processor: list  # of all threads; other work disturbs it less


def interleaved_times(candidates, rounds=20, warmup=2):
    """Times functions in alternating rounds.

    Args:
        candidates: Dict from name to a function without arguments, which
            returns only when its work is done.
        rounds: int. Calls of each that are timed.
        warmup: int. Calls of each before that, for tracing and caches.

    Returns:
        Dict from name to `Times`; the i-th entries of all candidates belong
        to the same round.

    Example:

    >>> times = interleaved_times({"nothing": lambda: None}, rounds=3)
    >>> len(times["nothing"].wall)
    3
    """
    for _ in range(warmup):
        for run in candidates.values():
            run()
    times = {name: Times([], []) for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            times[name].wall.append(time.perf_counter() - wall)
            times[name].processor.append(time.process_time() - processor)
    return times


def median_ratio(times, baseline):
    """Median over rounds of `times / baseline`, round by round.

    Example:

    >>> median_ratio([1.0, 4.0, 3.0], [1.0, 2.0, 2.0])
    1.5
    """
    pairs = zip(times, baseline, strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)
