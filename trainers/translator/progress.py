"""Shows the progress of a long translation."""

import time

from trainers.engine.progress import format_seconds


class TranslationProgress:
    """Shows the progress of a translation, at most once in `interval` seconds.

    Args:
        log: Function of one line of text.
        interval: float. Seconds between two lines.
        clock: Function that tells the time in seconds.

    Example:

    >>> times = iter([0.0, 4.0, 20.0])
    >>> progress = TranslationProgress(print, clock=lambda: next(times))
    >>> progress(10, 100)
    >>> progress(50, 100)
    50 of 100 translated  2.5 sentences/s  0:20 left
    """

    def __init__(self, log, interval=10.0, clock=time.monotonic):
        self._log = log
        self._interval = interval
        self._clock = clock
        self._start = self._last = clock()

    def __call__(self, done, total):
        now = self._clock()
        if now - self._last < self._interval:
            return
        self._last = now
        speed = done / (now - self._start)
        self._log(
            f"{done} of {total} translated  {speed:,.1f} sentences/s  "
            f"{format_seconds((total - done) / max(speed, 1e-9))} left"
        )
