"""The verdict on the routing of a layer, from window to window."""

import collections
import dataclasses
import math

import numpy as np

from moe_keras.monitoring.advice import advise

SPREAD, IDLE = "spread of load", "idle share"
UNBALANCED = "spread of load, which nothing keeps even,"
LEVELS = ("healthy", "drifting", "collapsing", "collapsed")


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Thresholds of verdicts. A spread is the `spread` of `RoutingWindow`.

    Example:

    >>> from moe_keras.monitoring.windows import make_window
    >>> window = make_window("moe", 10, 10, tokens=100, load=[90, 60, 30, 20])
    >>> round(window.spread, 2)
    0.55
    >>> for limits in Thresholds(), Thresholds(unbalanced_spread=0.5):
    ...     print(Judge(limits, is_balanced=False).judge(window).level)
    collapsing
    healthy
    """

    drifting_spread: float = 0.75  # drifting, if below it for long
    unbalanced_spread: float = 0.7  # collapsing, where nothing balances
    collapsing_spread: float = 0.4  # collapsing, where something does
    collapsed_spread: float = 0.1  # collapsed
    idle_limit: float = 0.1  # drifting, if more experts are idle for long
    drifting_windows: int = 10  # how long; gates often lean at first
    trend_windows: int = 6  # windows in which a recovery is looked for
    margin: float = 0.03  # beyond a threshold before a verdict gets better
    choices_needed: float = 10.0  # for each expert, to give a verdict at all

    def __post_init__(self):
        names = "collapsed", "collapsing", "unbalanced", "drifting"
        spreads = [getattr(self, f"{name}_spread") for name in names]
        if spreads != sorted(spreads) or not 0 <= spreads[0]:
            raise ValueError(
                "`collapsed_spread`, `collapsing_spread`, `unbalanced_spread` "
                "and `drifting_spread` must grow in this order, from 0 on. "
                f"Received: {', '.join(map(str, spreads))}"
            )
        for name, least in (("trend_windows", 2), ("drifting_windows", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"`{name}` must be at least {least}. Received: "
                    f"{name}={getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A verdict, and the figure that decided it.

    Example:

    >>> verdict = Verdict("drifting", "spread", 0.7, 0.75, "Raise the loss.")
    >>> verdict.reason
    'spread 0.700, threshold 0.750'
    """

    level: str  # one of LEVELS
    figure: str  # what decided
    value: float  # its value
    threshold: float  # the threshold it was compared with
    advice: str = ""  # what to try; empty for a healthy layer

    @property
    def reason(self):
        """The figure and its threshold as text."""
        return f"{self.figure} {self.value:.3f}, threshold {self.threshold:.3f}"


class Judge:
    """Judges the windows of one layer, one after the other.

    Args:
        thresholds: `Thresholds`.
        gate: The gate of the layer, whose arguments the advice names (see
            `Routing`); None for one that the losses of `SparseMoE` balance.
        is_balanced: bool. Whether anything balances the load, see the
            function `is_balanced`.

    Example:

    >>> from moe_keras.monitoring.windows import make_window
    >>> window = make_window("moe", 10, 10, tokens=100, load=[100, 100, 0, 0])
    >>> Judge(Thresholds()).judge(window).level
    'collapsed'
    """

    def __init__(self, thresholds, gate=None, is_balanced=True):
        self._limits = thresholds
        self._gate, self._is_balanced = gate, is_balanced
        self._spreads = collections.deque(maxlen=thresholds.trend_windows)
        self._was_even = False  # in any window; otherwise it began uneven
        self._low = 0  # low windows in a row
        # Of the last windows' spreads, since the layer is collapsing.
        self._lowest_mean = math.inf
        self.level = "healthy"  # of the last verdict

    def judge(self, window):
        """Judges the next window.

        Args:
            window: `RoutingWindow`.

        Returns:
            `Verdict`, or None where the window has too few tokens.
        """
        choices = sum(window.load) / len(window.load)
        if choices < self._limits.choices_needed:
            return None
        self._spreads.append(window.spread)
        verdict = self._verdict(window)
        self.level = verdict.level
        if self._is_at("collapsing"):
            mean = float(np.mean(self._spreads))
            self._lowest_mean = min(self._lowest_mean, mean)
        else:
            self._lowest_mean = math.inf
        advice = advise(verdict, window, self._gate, self._is_balanced)
        return dataclasses.replace(verdict, advice=advice)

    def _verdict(self, window):
        limits, now = self._limits, window.spread
        collapsed = self._limit("collapsed", limits.collapsed_spread)
        if now < collapsed:
            return Verdict("collapsed", SPREAD, now, collapsed)
        collapsing = self._limit(
            "collapsing",
            limits.collapsing_spread
            if self._is_balanced
            else limits.unbalanced_spread,
        )
        self._was_even |= now >= collapsing
        if now < collapsing and not self._is_on_its_way_up():
            figure = SPREAD if self._is_balanced else UNBALANCED
            return Verdict("collapsing", figure, now, collapsing)
        drifting = self._limit("drifting", limits.drifting_spread)
        idle, idle_limit = _idle_fraction(window), self._idle_limit()
        is_low = now < drifting or idle > idle_limit
        self._low = self._low + 1 if is_low else 0
        is_passing = self._low < limits.drifting_windows or (
            now < drifting <= self._ahead(limits.drifting_windows)
        )
        if not is_low or (self.level == "healthy" and is_passing):
            return Verdict("healthy", SPREAD, now, drifting)
        if now < drifting:
            return Verdict("drifting", SPREAD, now, drifting)
        return Verdict("drifting", IDLE, idle, idle_limit)

    # Each limit has a margin while the layer is at that level or worse, so
    # that a verdict does not change back and forth.

    def _is_at(self, level):
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def _limit(self, level, spread):
        """Returns the spread below which a layer has a level."""
        return spread + self._limits.margin * self._is_at(level)

    def _idle_limit(self):
        """Returns the fraction of idle experts above which a layer drifts."""
        limits = self._limits
        if not self._is_at("drifting"):
            return limits.idle_limit
        return max(limits.idle_limit - limits.margin, 0.0)

    def _is_on_its_way_up(self):
        """Says whether a gate that is kept even began uneven, and mends.

        The first `trend_windows` show no trend yet. Once it is collapsing, the
        mean of the last windows has to rise by the margin.
        """
        if not self._is_balanced or self._was_even:
            return False
        has_trend = len(self._spreads) == self._limits.trend_windows
        if self._is_at("collapsing"):
            risen = np.mean(self._spreads) - self._lowest_mean
            return risen > self._limits.margin and self._slope() > 0
        return not has_trend or self._slope() > 0

    def _ahead(self, windows):
        """Returns the spread that a line through the last windows leads to.

        Fewer than `trend_windows` show no trend: the spread as it is.
        """
        now = self._spreads[-1]
        if len(self._spreads) < self._limits.trend_windows:
            return now
        return now + windows * self._slope()

    def _slope(self):
        """Returns the slope of that line, for each window."""
        spreads = np.array(self._spreads)
        # Less the first, so that rounding makes no slope of equal spreads.
        line = np.polyfit(np.arange(len(spreads)), spreads - spreads[0], 1)
        return float(line[0])


def _idle_fraction(window):
    """Returns the fraction of experts that are idle, beyond chance."""
    beyond = window.idle_experts - window.idle_by_chance
    return max(beyond, 0.0) / len(window.load)
