"""Is the routing of a layer healthy? A verdict, and what it rests on."""

import collections
import dataclasses

import numpy as np

SPREAD, IDLE = "spread of load", "idle share"
AHEAD = "spread of load where its fall leads"
LITTLE_NOISE = 0.1  # of the gap: noise hardly ever changes a choice
LAYER_LOSSES = ("importance_loss_weight", "load_loss_weight")
LEVELS = ("healthy", "drifting", "collapsing", "collapsed")


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Where verdicts begin. `spread` is that of `RoutingWindow`.

    Example:

    >>> from moe_keras.monitoring.windows import measure
    >>> window = measure("moe", 10, 10, tokens=100, load=[90, 80, 20, 10])
    >>> patient = Thresholds(collapsing_spread=0.2)
    >>> [Judge(each).judge(window).level for each in (Thresholds(), patient)]
    ['collapsing', 'healthy']
    """

    drifting_spread: float = 0.75  # below for long: drifting
    collapsing_spread: float = 0.5  # below: collapsing, unless it is a dip
    dip_spread: float = 0.35  # a fall that leads below this is no dip
    collapsed_spread: float = 0.1  # below: collapsed
    idle_limit: float = 0.1  # share of idle experts beyond chance: as drifting
    drifting_windows: int = 10  # so long: gates often lean at first, and mend
    trend_windows: int = 6  # windows that a recovery is seen in, no fewer
    fall_windows: int = 3  # windows that a steep fall is seen in
    horizon: int = 4  # windows within which either has to arrive
    margin: float = 0.03  # beyond a threshold before things are better
    choices_needed: float = 10.0  # for each expert, or there is no verdict

    def __post_init__(self):
        spreads = (
            self.collapsed_spread,
            self.collapsing_spread,
            self.drifting_spread,
        )
        if list(spreads) != sorted(spreads) or not 0 <= spreads[0]:
            raise ValueError(
                "`collapsed_spread`, `collapsing_spread` and "
                "`drifting_spread` must grow in this order, from 0 on. "
                f"Received: {', '.join(map(str, spreads))}"
            )
        if not 2 <= self.fall_windows <= self.trend_windows:
            raise ValueError(
                "`fall_windows` must be at least 2 and at most "
                f"`trend_windows`. Received: fall_windows={self.fall_windows}, "
                f"trend_windows={self.trend_windows}"
            )
        if self.drifting_windows < 1:
            raise ValueError(
                "`drifting_windows` must be at least 1. Received: "
                f"drifting_windows={self.drifting_windows}"
            )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is thought of a layer, and the figure that decided.

    Example:

    >>> verdict = Verdict("drifting", "spread", 0.7, 0.75, "Raise the loss.")
    >>> verdict.reason
    'spread 0.700, threshold 0.750'
    """

    level: str  # one of LEVELS
    figure: str  # what decided
    value: float  # its value
    threshold: float  # what it was held against
    advice: str = ""  # what to try; nothing where all is well

    @property
    def reason(self):
        """The figure and the threshold, in words."""
        return f"{self.figure} {self.value:.3f}, threshold {self.threshold:.3f}"


class Judge:
    """Follows the windows of one layer.

    Args:
        thresholds: `Thresholds`.
        gate: The layer's gate, for advice that names its own arguments (see
            `Routing`); None for one that is kept even by the losses of
            `SparseMoE`.

    Example:

    >>> from moe_keras.monitoring.windows import measure
    >>> window = measure("moe", 10, 10, tokens=100, load=[100, 100, 0, 0])
    >>> Judge(Thresholds()).judge(window).level
    'collapsed'
    """

    def __init__(self, thresholds, gate=None):
        self._limits = thresholds
        self._gate = gate
        self._spreads = collections.deque(maxlen=thresholds.trend_windows)
        self._gradients = collections.deque(maxlen=thresholds.fall_windows)
        self._low = 0  # windows in a row that are not as they should be
        self.level = "healthy"  # of the last verdict

    def judge(self, window):
        """Takes in the next window of the layer.

        Args:
            window: `RoutingWindow`.

        Returns:
            `Verdict`, or None where the window has too few tokens.
        """
        choices = sum(window.load) / len(window.load)
        if choices < self._limits.choices_needed:
            return None
        self._spreads.append(window.spread)
        self._gradients.append(window.gate_gradient)
        verdict = self._verdict(window)
        self.level = verdict.level
        advice = advise(verdict, window, self._gate)
        return dataclasses.replace(verdict, advice=advice)

    def _verdict(self, window):
        limits, now = self._limits, window.spread
        collapsed = self._limit("collapsed", limits.collapsed_spread)
        collapsing = self._limit("collapsing", limits.collapsing_spread)
        drifting = self._limit("drifting", limits.drifting_spread)
        idle = _idle_share(window)
        is_low = now < drifting or idle > limits.idle_limit
        self._low = self._low + 1 if is_low else 0
        if now < collapsed:
            return Verdict("collapsed", SPREAD, now, collapsed)
        if now < collapsing and not self._is_dip(collapsing):
            return Verdict("collapsing", SPREAD, now, collapsing)
        ahead = self._fall_ahead()
        if now < drifting and ahead < collapsed:
            return Verdict("collapsing", AHEAD, ahead, collapsed)
        is_mending = now < drifting <= self._ahead(limits.trend_windows)
        is_short = self._low < limits.drifting_windows
        if self.level == "healthy" and (is_short or is_mending):
            return Verdict("healthy", SPREAD, now, drifting)
        if now < drifting:
            return Verdict("drifting", SPREAD, now, drifting)
        if idle > limits.idle_limit:
            return Verdict("drifting", IDLE, idle, limits.idle_limit)
        return Verdict("healthy", SPREAD, now, drifting)

    def _is_dip(self, collapsing):
        """Whether a low spread recovers, or its fall is about to end.

        What has been called collapsing has to recover, and so has what no
        trend is seen of.
        """
        limits, now = self._limits, self._spreads[-1]
        if self._ahead(limits.trend_windows) >= collapsing:
            return True
        is_called = self.level in ("collapsing", "collapsed")
        is_known = len(self._spreads) >= limits.fall_windows
        if is_called or not is_known or now < limits.dip_spread:
            return False
        return self._fall_ahead() >= limits.dip_spread or self._is_held()

    def _fall_ahead(self):
        """Where a fall leads; one that slows down less far by its last step."""
        return max(self._ahead(self._limits.fall_windows), self._ahead(2))

    def _is_held(self):
        """Whether what reaches the gate does not fade while the spread falls.

        Losses pull the harder the more uneven the load is; a gate that
        collapses is sure of itself, and its gradient dies away.
        """
        gradients = list(self._gradients)
        if len(gradients) < self._limits.fall_windows or None in gradients:
            return False
        return _slope(gradients) >= 0

    def _limit(self, level, spread):
        """Higher where the layer is that bad already: no flicker."""
        is_there = LEVELS.index(self.level) >= LEVELS.index(level)
        return spread + self._limits.margin * is_there

    def _ahead(self, windows):
        """The spread where a line through the last windows leads.

        Fewer windows than these show no trend: the spread as it is.
        """
        spreads = np.asarray(self._spreads)[-windows:]
        if len(spreads) < windows:
            return float(spreads[-1])
        return float(spreads[-1] + _slope(spreads) * self._limits.horizon)


def _slope(values):
    """Of the straight line through equally distant values, for a step."""
    return np.polyfit(np.arange(len(values)), values, 1)[0]


def _idle_share(window):
    """Share of idle experts, less those that chance leaves idle."""
    beyond = window.idle_experts - window.idle_by_chance
    return max(beyond, 0.0) / len(window.load)


def advise(verdict, window, gate=None):
    """What to try, from what is seen of the gate.

    Args:
        verdict: `Verdict`.
        window: `RoutingWindow` that it is on.
        gate: As for `Judge`.

    Returns:
        str, empty for a healthy layer. Noise is spoken of only where the gate
        has some: where the window knows its `noise_over_gap`.

    Example:

    >>> import moe_keras
    >>> from moe_keras.monitoring.windows import measure
    >>> window = measure("moe", 10, 10, tokens=100, load=[90, 60, 30, 20])
    >>> verdict = Verdict("drifting", "spread of load", 0.7, 0.75)
    >>> advise(verdict, window, moe_keras.BiasBalancedGate(4, k=2))
    'raise update_rate, or lower the learning rate'
    """
    if verdict.level == "healthy":
        return ""
    advice = []
    if verdict.level == "collapsed":
        advice.append(
            "go back to a checkpoint from before, for starved experts do not "
            "come back by themselves"
        )
    if window.gate_gradient == 0:
        advice.append(
            "no gradient reaches the gate: let its choice weigh the output "
            "(k above 1, or a gate whose probability scales the expert)"
        )
    else:
        knobs = " and ".join(_balance_knobs(gate))
        raise_knobs = f"raise {knobs}, or " if knobs else ""
        advice.append(f"{raise_knobs}lower the learning rate")
    ratio = window.noise_over_gap
    if ratio is not None and ratio < LITTLE_NOISE:
        knob = getattr(gate, "noise_knob", None)
        advice.append(
            "give the gate more noise" + (f": raise {knob}" if knob else "")
        )
    return "; ".join(advice)


def _balance_knobs(gate):
    itself = getattr(gate, "balances_itself", False)
    return getattr(gate, "balance_knobs", () if itself else LAYER_LOSSES)
