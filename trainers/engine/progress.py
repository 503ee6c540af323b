"""The line that tells how training goes."""

import math
import time


class Progress:
    """Adds up steps and writes a line now and then.

    Args:
        config: `LoopConfig`.
        log: Function of one line of text.
        seconds: Scalar variable; seconds spent in steps so far.
    """

    def __init__(self, config, log, seconds):
        self._config = config
        self._log = log
        self._seconds = seconds
        self._begin_window()

    def add(self, step, loss, nll, tokens):
        """Takes in one step.

        Args:
            step: int. Steps done.
            loss: float. Mean loss for each token of the step.
            nll: float. Mean negative log likelihood of these tokens, of which
                the perplexity is made.
            tokens: float. Target tokens of the step.

        Returns:
            The window's figures as a dict after it was written, else None.
        """
        self._loss += loss * tokens
        self._nll += nll * tokens
        self._tokens += tokens
        self._steps += 1
        if step % self._config.log_every and step != self._config.steps:
            return None
        elapsed = max(float(self._seconds) - self._start, 1e-9)
        tokens = max(self._tokens, 1.0)
        figures = {
            "loss": self._loss / tokens,
            "perplexity": math.exp(min(self._nll / tokens, 50.0)),
            "tokens_per_second": self._tokens / elapsed,
        }
        left = self._seconds_left(step, elapsed / self._steps)
        self._log(
            f"step {step}/{self._config.steps}  loss {figures['loss']:.3f}  "
            f"perplexity {figures['perplexity']:.2f}  "
            f"{figures['tokens_per_second']:,.0f} tokens/s  "
            f"{format_seconds(left)} left"
        )
        self._begin_window()
        return figures

    def _seconds_left(self, step, seconds_per_step):
        left = (self._config.steps - step) * seconds_per_step
        if self._config.max_minutes:
            limit = 60 * self._config.max_minutes - float(self._seconds)
            left = min(left, max(limit, 0.0))
        return left

    def _begin_window(self):
        self._start = float(self._seconds)
        self._loss = self._nll = self._tokens = 0.0
        self._steps = 0


class TranslationProgress:
    """Says how far a translation is, at most once in so many seconds.

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


def format_seconds(seconds):
    """Hours, minutes and seconds.

    >>> format_seconds(3725), format_seconds(59.6)
    ('1:02:05', '1:00')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{seconds:02}"
    return f"{minutes}:{seconds:02}"
