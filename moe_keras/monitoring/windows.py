"""Windows of steps: how one MoE layer routed their tokens, and their file.

T: tokens of the window    E: experts    k: mean experts per token
"""

import dataclasses
import json
import logging
import math
import os
import pathlib

import numpy as np
from numpy.typing import ArrayLike

from moe_keras.monitoring.verdicts import Verdict

FILE_NAME = "routing.jsonl"


@dataclasses.dataclass(frozen=True)
class RoutingWindow:
    """How one layer routed the tokens of some training steps.

    Example:

    >>> window = make_window("moe", 10, 5, tokens=8, load=[8, 4, 4, 0])
    >>> window.max_over_mean_load, window.idle_experts, window.mean_k
    (2.0, 1, 2.0)
    """

    layer: str  # its name in the model
    step: int  # the last step of the window
    steps: int  # how many there were
    tokens: float  # T, padding left out
    load: list  # (E,) tokens that chose each expert, dropped or not
    importance: list  # (E,) sum of the gates of each expert
    overflow: float  # choices dropped because their expert was full
    cv_load: float  # coefficient of variation: 0 is even
    cv_importance: float  # the same of the importance
    max_over_mean_load: float  # the busiest expert's load; 1 is even
    entropy: float  # of the load, over log E: 1 is even, 0 one expert
    spread: float  # of the load: 1 is even, 0 the same k for all tokens
    idle_experts: int  # experts without a token
    idle_by_chance: float  # how many would be expected at even load
    mean_k: float  # experts chosen for a token
    changed_share: float | None = None  # fraction of tokens, see `LayerWatch`
    noise_over_gap: float | None = None  # see `NoisyTopKGate`
    gate_gradient: float | None = None  # root mean square norm in a step
    balancing_loss: float | None = None  # mean of what a step added
    # What the gate tells of itself, by name: means over the tokens.
    gate_metrics: dict = dataclasses.field(default_factory=dict)
    verdict: Verdict | None = None  # None: too few tokens to judge


def make_window(
    layer: str,
    step: int,
    steps: int,
    tokens: float,
    load: ArrayLike,
    importance: ArrayLike | None = None,
    overflow: float = 0.0,
    gate_metrics: dict[str, float] | None = None,
    changed_share: float | None = None,
    gate_gradient: float | None = None,
    balancing_loss: float | None = None,
) -> RoutingWindow:
    """Makes a window from its sums.

    Args:
        layer: str. Name of the layer.
        step: int. Last step of the window.
        steps: int. Steps of the window.
        tokens: float. Tokens of the window.
        load: float array `(E,)`.
        importance: float array `(E,)`, or None for the load.
        overflow: float. Choices that were dropped.
        gate_metrics: dict. What the gate tells of itself, sums over tokens.
        changed_share: float or None.
        gate_gradient: float or None.
        balancing_loss: float or None.

    Returns:
        `RoutingWindow`, without a verdict.
    """
    load = np.asarray(load, "float64")
    importance = load if importance is None else np.asarray(importance)
    gate_metrics = gate_metrics or {}
    gap = gate_metrics.get("gap")
    num_experts, choices = len(load), load.sum()
    mean_k = choices / tokens if tokens else 0.0
    return RoutingWindow(
        layer=layer,
        step=step,
        steps=steps,
        tokens=float(tokens),
        load=[round(float(x), 1) for x in load],
        importance=[round(float(x), 3) for x in importance],
        overflow=float(overflow),
        cv_load=coefficient_of_variation(load),
        cv_importance=coefficient_of_variation(importance),
        max_over_mean_load=(
            float(load.max() * num_experts / choices) if choices else 0.0
        ),
        entropy=_entropy(load),
        spread=spread(load, tokens),
        idle_experts=int((load == 0).sum()),
        idle_by_chance=float(
            num_experts * max(0.0, 1 - mean_k / num_experts) ** tokens
        ),
        mean_k=float(mean_k),
        changed_share=changed_share,
        noise_over_gap=gate_metrics["noise"] / gap if gap else None,
        gate_gradient=gate_gradient,
        balancing_loss=balancing_loss,
        gate_metrics={
            name: float(total / tokens) if tokens else 0.0
            for name, total in gate_metrics.items()
        },
    )


def coefficient_of_variation(totals):
    """Divides the standard deviation by the mean; 0 where all is 0."""
    mean = np.mean(totals)
    return float(np.std(totals) / mean) if mean > 0 else 0.0


def spread(load, tokens):
    """Computes how far the load is from a collapse: 1 is even, 0 a collapse.

    `E / (1 + CV^2)` experts, evenly used, would have the CV of the load. That
    is E at even load, and k where all tokens choose the same k experts. The
    spread is the place of this number between the two. Chance alone gives
    even routing a CV^2 of (E / k - 1) / T, which is subtracted first.

    Args:
        load: float array `(E,)`. Tokens that chose each expert.
        tokens: float. Number of tokens T.

    Returns:
        float between 0 and 1; 1 where every token takes all experts.

    Example:

    >>> spread([5000] * 8, tokens=20_000)  # k = 2
    1.0
    >>> f"{spread([20_000] * 2 + [0] * 6, tokens=20_000):.2f}"
    '0.00'
    >>> f"{spread([10_000] * 4 + [0] * 4, tokens=20_000):.2f}"  # (4-2)/(8-2)
    '0.33'
    """
    num_experts, choices = len(load), float(np.sum(load))
    if not tokens or not choices:
        return 1.0
    k = choices / tokens
    if k >= num_experts - 1e-3:
        return 1.0
    cv_squared = coefficient_of_variation(load) ** 2
    if tokens > 1:
        # Unbiased: still 0 at even load and E / k - 1 in a full collapse.
        by_chance = (num_experts / k - 1) / tokens
        cv_squared = max(cv_squared - by_chance, 0.0) / (1 - 1 / tokens)
    in_use = num_experts / (1 + cv_squared)
    return min(max((in_use - k) / (num_experts - k), 0.0), 1.0)


def _entropy(load):
    choices = np.sum(load)
    if not choices or len(load) == 1:
        return 1.0
    fraction = load[load > 0] / choices
    return float(-np.sum(fraction * np.log(fraction)) / math.log(len(load)))


def _parsed(line):
    values = json.loads(line)
    if "figures" in values:  # the name in older files
        values["gate_metrics"] = values.pop("figures")
    if values["verdict"] is not None:
        values["verdict"] = Verdict(**values["verdict"])
    return RoutingWindow(**values)


class WindowFile:
    """`routing.jsonl`: one line a layer and window.

    Args:
        folder: str or path. Made when the first window is written.

    Example:

    >>> import tempfile
    >>> file = WindowFile(tempfile.mkdtemp())
    >>> file.append([make_window("moe", 10, 5, tokens=8, load=[8, 4, 4, 0])])
    >>> file.append([make_window("moe", 20, 10, tokens=8, load=[4, 4, 4, 4])])
    >>> [window.step for window in file.read()]
    [10, 20]
    >>> [window.step for window in file.keep_until(10)]
    [10]
    """

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / FILE_NAME

    def append(self, windows):
        """Adds windows at the end."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            for window in windows:
                json.dump(dataclasses.asdict(window), file)
                file.write("\n")

    def read(self):
        """Reads all windows in order.

        It leaves out a last line that was cut off and, with a warning, any
        other broken line.
        """
        windows = []
        if not self.path.exists():
            return windows
        # Invalid bytes spoil only their own line.
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = text.removesuffix("\n").split("\n")
        for number, line in enumerate(lines, 1):
            try:
                windows.append(_parsed(line))
            except (ValueError, TypeError, KeyError) as error:
                if number < len(lines):
                    logging.getLogger(__name__).warning(
                        "%s, line %s, is broken and passed over: %s",
                        self.path,
                        number,
                        error,
                    )
        return windows

    def keep_until(self, step):
        """Drops the windows after a step, for a run that resumes there.

        Returns:
            List of the windows that it keeps.
        """
        windows = self.read()
        kept = [window for window in windows if window.step <= step]
        if self.path.exists():
            aside = WindowFile(self.path.parent)
            aside.path = self.path.with_suffix(".new")
            aside.path.unlink(missing_ok=True)
            aside.append(kept)
            os.replace(aside.path, self.path)
        return kept
