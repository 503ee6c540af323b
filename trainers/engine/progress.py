"""The line of progress."""


class Progress:
    """Adds up steps and writes a line now and then.

    Args:
        config: `LoopConfig`.
        log: Function of one line of text.
        seconds: Scalar variable; seconds spent in steps so far.
        unit: str. Plural of what the loss is a mean over.
        shown: Function of the means, a dict of floats, that returns those to
            be shown.
    """

    def __init__(
        self, config, log, seconds, unit="tokens", shown=lambda means: means
    ):
        self._config = config
        self._log = log
        self._seconds = seconds
        self._unit = unit
        self._shown = shown
        self._begin_window()

    def add(self, step, result):
        """Adds a step to the window.

        Args:
            step: int. Steps done.
            result: `StepResult`.

        Returns:
            The window's figures as a dict after it was written, else None.
        """
        for name, mean in {"loss": result.loss, **result.others}.items():
            total = self._totals.get(name, 0.0) + mean * result.examples
            self._totals[name] = total
        self._examples += result.examples
        self._steps += 1
        if step % self._config.log_every and step != self._config.steps:
            return None
        elapsed = max(float(self._seconds) - self._start, 1e-9)
        examples = max(self._examples, 1.0)
        means = {name: x / examples for name, x in self._totals.items()}
        shown = self._shown(means)
        per_second = self._examples / elapsed
        left = self._seconds_left(step, elapsed / self._steps)
        self._log(
            f"step {step}/{self._config.steps}  {format_metrics(shown)}  "
            f"{per_second:,.0f} {self._unit}/s  {format_seconds(left)} left"
        )
        self._begin_window()
        return {**shown, f"{self._unit}_per_second": per_second}

    def _seconds_left(self, step, seconds_per_step):
        left = (self._config.steps - step) * seconds_per_step
        if self._config.max_minutes:
            limit = 60 * self._config.max_minutes - float(self._seconds)
            left = min(left, max(limit, 0.0))
        return left

    def _begin_window(self):
        self._start = float(self._seconds)
        self._totals = {}
        self._examples = 0.0
        self._steps = 0


def format_metrics(metrics):
    """Formats names and values as one line, without those of parts.

    >>> format_metrics({"loss": 3.25, "perplexity": 25.79034})
    'loss 3.250  perplexity 25.790'
    """
    return "  ".join(
        f"{name} {value:.3f}"
        for name, value in metrics.items()
        if "/" not in name
    )


def format_parts(metrics):
    """Formats metrics of parts, named KIND/PART, as a line for each kind.

    >>> format_parts({"bleu": 3.5, "bleu/en-fr": 4.0, "bleu/fr-en": 3.0})
    ['bleu  en-fr 4.000  fr-en 3.000']
    """
    kinds = {}
    for name, value in metrics.items():
        kind, _, part = name.partition("/")
        if part:
            kinds.setdefault(kind, {})[part] = value
    return [f"{kind}  {format_metrics(parts)}" for kind, parts in kinds.items()]


def format_seconds(seconds):
    """Formats a duration in hours, minutes and seconds.

    >>> format_seconds(3725), format_seconds(59.6)
    ('1:02:05', '1:00')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{seconds:02}"
    return f"{minutes}:{seconds:02}"
