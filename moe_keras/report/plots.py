"""Draws the pictures of the report with matplotlib.

E: experts    W: windows
"""

import base64
import html
import io

import numpy as np
from matplotlib.figure import Figure

from moe_keras.monitoring.tensorboard import MAX_SIDE, relative_load, shrink

FEW = 20  # curves of up to as many windows have dots; one makes no line
CURVES = (
    ("load", (("max_over_mean_load", "max/mean"), ("cv_load", "CV"))),
    ("spread", (("spread", "spread"), ("entropy", "entropy"))),
    ("gate", (("changed_share", "first choice changed"),)),
    ("noise/gap", (("noise_over_gap", "noise/gap"),)),
    ("gradient", (("gate_gradient", "norm at the gate"),)),
)


def heat_map(history):
    """Draws the load of each expert over time.

    Args:
        history: List of the `RoutingWindow` of one layer.

    Returns:
        `matplotlib.figure.Figure`.
    """
    load_EW = np.stack([relative_load(w.load) for w in history], axis=1)
    begin = history[0].step - history[0].steps
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(
        shrink(load_EW, MAX_SIDE),
        aspect="auto",
        interpolation="nearest",
        cmap="bwr",
        vmin=0,
        vmax=2,
        extent=(begin, history[-1].step, len(load_EW) - 0.5, -0.5),
    )
    axes.set(xlabel="step", ylabel="expert")
    figure.colorbar(picture, label="load / mean", extend="max")
    return figure


def curves(history):
    """Draws the numbers of one layer over time, one below the other."""
    shown = list(_shown(history))
    figure = Figure(figsize=(9, 1.6 * len(shown)), layout="constrained")
    rows = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    steps = [window.step for window in history]
    marker = ".-" if len(steps) <= FEW else "-"
    for axes, (label, lines) in zip(rows, shown, strict=True):
        for name, values in lines:
            axes.plot(steps, values, marker, label=name)
        axes.set_ylabel(label)
        axes.legend(loc="upper right")
    rows[-1].set_xlabel("step")
    return figure


def _shown(history):
    """Yields labels and lines that have a value; None becomes NaN, a gap."""
    told = dict.fromkeys(name for w in history for name in w.gate_metrics)
    of_gate = [
        (name.replace("_", " "), [w.gate_metrics.get(name) for w in history])
        for name in told
    ]
    shown = [
        (
            label,
            [(name, [getattr(w, f) for w in history]) for f, name in fields],
        )
        for label, fields in CURVES
    ]
    shown.append(("told by the gate", of_gate))
    for label, lines in shown:
        lines = [(name, np.array(v, "float64")) for name, v in lines]
        if not all(np.isnan(values).all() for _, values in lines):
            yield label, lines


def token_map(study):
    """Draws where the most frequent tokens go.

    Args:
        study: `moe_keras.analysis.LayerStudy`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    shares_VE = np.array([route.shares for route in study.routes])
    height = 1.2 + 0.17 * len(study.routes)
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(
        shares_VE,
        aspect="auto",
        interpolation="nearest",
        cmap="Blues",
        vmin=0,
        vmax=max(shares_VE.max(), 1e-9),
    )
    names = [route.token.replace("$", r"\$") for route in study.routes]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="expert", ylabel="token, by frequency")
    figure.colorbar(picture, label="fraction of the token's choices")
    return figure


def image(figure, text):
    """Turns a figure into an HTML image that holds its own data."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">\n'
    )
