"""Draws the pictures of the report with matplotlib.

Each is drawn once for every look: light or dark, wide or narrow. The browser
takes the one that suits its screen.

E: experts    W: windows
"""

import base64
import dataclasses
import html
import io

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap
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
_LEGEND = 0.3  # inches above each of the curves


def _colours(name, *colours):
    return LinearSegmentedColormap.from_list(name, colours)


@dataclasses.dataclass(frozen=True)
class Look:
    """How pictures look on a kind of screen."""

    media: str  # CSS media query; "" for all others
    width: float  # inches
    settings: dict  # of matplotlib
    below_and_above: Colormap  # the middle is the background
    share: Colormap  # of zero, the background


_DARK = {
    **{f"{name}.color": "#e8ebee" for name in ("text", "xtick", "ytick")},
    "axes.edgecolor": "#a9b3bd",
    "axes.labelcolor": "#e8ebee",
    "axes.prop_cycle": matplotlib.cycler(
        color=["#6cb2ff", "#ffb454", "#7ee08a", "#ff8a80", "#c9a6ff"]
    ),
}
_LIGHT_MAPS = (
    _colours("below_and_above", "#0b57d0", "#ffffff", "#c01c28"),
    _colours("share", "#ffffff", "#0b57d0"),
)
_DARK_MAPS = (
    _colours("below_and_above_dark", "#6cb2ff", "#14171a", "#ff8a80"),
    _colours("share_dark", "#14171a", "#6cb2ff"),
)
LIGHT = Look("", 9.0, {}, *_LIGHT_MAPS)
# A browser takes the first whose query holds.
LOOKS = (
    Look(
        "(max-width: 40em) and (prefers-color-scheme: dark)",
        4.5,
        _DARK,
        *_DARK_MAPS,
    ),
    Look("(max-width: 40em)", 4.5, {}, *_LIGHT_MAPS),
    Look("(prefers-color-scheme: dark)", 9.0, _DARK, *_DARK_MAPS),
    LIGHT,
)


def heat_map(history, look=LIGHT):
    """Draws the load of each expert over time.

    Args:
        history: List of the `RoutingWindow` of one layer.
        look: `Look`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    load_EW = np.stack([relative_load(w.load) for w in history], axis=1)
    begin = history[0].step - history[0].steps
    figure = Figure(figsize=(look.width, 3.2), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(
        shrink(load_EW, MAX_SIDE),
        aspect="auto",
        interpolation="nearest",
        cmap=look.below_and_above,
        vmin=0,
        vmax=2,
        extent=(begin, history[-1].step, len(load_EW) - 0.5, -0.5),
    )
    axes.set(xlabel="step", ylabel="expert")
    figure.colorbar(picture, label="load / mean", extend="max")
    return figure


def curves(history, look=LIGHT):
    """Draws the numbers of one layer over time, one below the other."""
    shown = list(_shown(history))
    figure = Figure(
        figsize=(look.width, (1.6 + _LEGEND) * len(shown)),
        layout="constrained",
    )
    rows = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    steps = [window.step for window in history]
    marker = ".-" if len(steps) <= FEW else "-"
    for axes, (label, lines) in zip(rows, shown, strict=True):
        for name, values in lines:
            axes.plot(steps, values, marker, label=name)
        axes.set_ylabel(label)
        axes.legend(  # above the curves, which it would cover
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            frameon=False,
            ncols=2,
        )
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


def token_map(study, look=LIGHT):
    """Draws where the most frequent tokens go.

    Args:
        study: `moe_keras.analysis.LayerStudy`.
        look: `Look`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    shares_VE = np.array([route.shares for route in study.routes])
    height = 1.2 + 0.17 * len(study.routes)
    figure = Figure(figsize=(look.width, height), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(
        shares_VE,
        aspect="auto",
        interpolation="nearest",
        cmap=look.share,
        vmin=0,
        vmax=max(shares_VE.max(), 1e-9),
    )
    names = [route.token.replace("$", r"\$") for route in study.routes]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="expert", ylabel="token, by frequency")
    figure.colorbar(picture, label="fraction of the token's choices")
    return figure


def picture(draw, subject, text):
    """Draws a figure in every look, as HTML that holds its own data.

    Args:
        draw: Function of the subject and a `Look` that gives a figure.
        subject: What it draws.
        text: str. What the picture shows, for those who do not see it.

    Returns:
        str.
    """
    *sources, last = ((look.media, _png(draw, subject, look)) for look in LOOKS)
    lines = [
        f'<source media="{media}" srcset="{data}">' for media, data in sources
    ]
    image = f'<img alt="{html.escape(text)}" src="{last[1]}">'
    return "\n".join(["<picture>", *lines, image, "</picture>"]) + "\n"


def _png(draw, subject, look):
    buffer = io.BytesIO()
    with matplotlib.rc_context(look.settings):
        figure = draw(subject, look)
        # The page's own background shows through.
        figure.savefig(buffer, format="png", dpi=110, transparent=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/png;base64,{data}"
