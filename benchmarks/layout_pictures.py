"""Where tensors live and travel under each layout, in two pictures.

    python benchmarks/layout_pictures.py [--folder=docs/images]

- layout_homes.svg: which of four devices has which tokens and which weights.
- layout_exchange.svg: the way of tokens to their experts and back where batch
  and experts are split together.

Nothing is measured here: the pictures are drawn from the rules. Needs
matplotlib (`pip install -e .[plots]`).
"""

import argparse
import pathlib
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
ALL = "#BBBBBB"  # on every device
DEVICES, TOKENS, EXPERTS, HIDDEN = 4, 8, 4, 4


class Homes(NamedTuple):
    """Who has what, of a layout of four devices.

    Attributes:
        title: str.
        tokens: Function of a token's part, 0 to 3, that gives its device;
            None for all of them.
        weights: Function of parts of experts and hidden layer that gives the
            device; None for all of them.
    """

    title: str
    tokens: object
    weights: object


LAYOUTS = (
    Homes(
        "batch:all;experts:all\nand replicas, experts:replica",
        lambda part: part,
        lambda expert, hidden: expert,
    ),
    Homes("experts:all", lambda part: None, lambda expert, hidden: expert),
    Homes("hidden:all", lambda part: None, lambda expert, hidden: hidden),
    Homes(
        "batch:all\nand replicas, experts mirrored",
        lambda part: part,
        lambda expert, hidden: None,
    ),
    Homes(
        "data:2;model:2\nbatch:data;experts:model",
        lambda part: (2 * (part // 2), 2 * (part // 2) + 1),
        lambda expert, hidden: (expert // 2, 2 + expert // 2),
    ),
    Homes(
        "model:2;inner:2\nexperts:model;hidden:inner",
        lambda part: None,
        lambda expert, hidden: 2 * (expert // 2) + hidden // 2,
    ),
)


def _fill(panel, x, y, width, height, home):
    """A cell in the colour of its device, or in stripes of several."""
    if home is None:
        homes = (None,)
    else:
        homes = home if isinstance(home, tuple) else (home,)
    for number, device in enumerate(homes):
        panel.add_patch(
            Rectangle(
                (x + number * width / len(homes), y),
                width / len(homes),
                height,
                facecolor=ALL if device is None else COLOURS[device],
                edgecolor="white",
                linewidth=0.6,
            )
        )


def draw_homes():
    """A panel for each layout: tokens beside the experts' weights."""
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    panels = figure.subplots(2, 3)
    for panel, homes in zip(panels.flat, LAYOUTS, strict=True):
        for token in range(TOKENS):
            part = token * DEVICES // TOKENS
            _fill(panel, 0, TOKENS - 1 - token, 2, 1, homes.tokens(part))
        for expert in range(EXPERTS):
            for hidden in range(HIDDEN):
                _fill(
                    panel,
                    3.5 + 1.5 * hidden,
                    TOKENS - 2 - 2 * expert,
                    1.5,
                    2,
                    homes.weights(expert, hidden),
                )
        panel.text(1, -0.9, "tokens", ha="center", fontsize=8)
        panel.text(6.5, -0.9, "experts ↓  hidden →", ha="center", fontsize=8)
        panel.set_title(homes.title, fontsize=9, family="monospace")
        panel.set_xlim(-0.3, 10)
        panel.set_ylim(-1.4, TOKENS + 0.2)
        panel.axis("off")
    handles = [Rectangle((0, 0), 1, 1, facecolor=c) for c in (*COLOURS, ALL)]
    names = [f"device {number}" for number in range(DEVICES)]
    figure.legend(
        handles,
        [*names, "all devices"],
        loc="outside lower center",
        ncols=5,
        fontsize=9,
        frameon=False,
    )
    return figure


# Rows of the picture of the exchange, and what travels below each.
_STAGES = (
    ("tokens (n, D)", "each token K times, sorted by device"),
    ("rows for each device", "all-to-all"),
    ("rows from each device", "dispatch to the experts that are here"),
    ("experts (E / R)", "all-to-all, the same way back"),
    ("results by device", "combined by gate"),
    ("results (n, D)", ""),
)


def draw_exchange():
    """Four devices side by side; colours are the devices of the experts."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    panel = figure.subplots()
    gap, width, height = 5.0, 4.0, 0.8
    for stage, (name, below) in enumerate(_STAGES):
        y = -2 * stage
        panel.text(-0.4, y + height / 2, name, ha="right", va="center")
        if below:
            panel.text(
                -0.4, y - 0.6, below, ha="right", va="center",
                fontsize=8, color="#555555", style="italic",
            )  # fmt: skip
        for device in range(DEVICES):
            for cell in range(DEVICES):
                colour = COLOURS[cell]  # of the expert that a row is for
                if stage in (2, 3):
                    colour = COLOURS[device]
                if stage in (0, 5):
                    colour = ALL
                panel.add_patch(
                    Rectangle(
                        (device * gap + cell * width / DEVICES, y),
                        width / DEVICES,
                        height,
                        facecolor=colour,
                        edgecolor="white",
                    )
                )
    for stage, forward in ((1, True), (3, False)):
        top, bottom = -2 * stage, -2 * stage - 2 + height
        for source in range(DEVICES):
            for target in range(DEVICES):
                cell = (target + 0.5) * width / DEVICES
                other = (source + 0.5) * width / DEVICES
                ends = (source * gap + cell, target * gap + other)
                colour = COLOURS[target] if forward else COLOURS[source]
                panel.add_patch(
                    FancyArrowPatch(
                        (ends[0], top),
                        (ends[1], bottom),
                        arrowstyle="-|>",
                        mutation_scale=7,
                        linewidth=0.9,
                        color=colour,
                        linestyle="-" if source != target else ":",
                    )
                )
    for device in range(DEVICES):
        panel.text(
            device * gap + width / 2, 1.2, f"device {device}", ha="center"
        )
    panel.set_xlim(-7, DEVICES * gap)
    panel.set_ylim(-2 * len(_STAGES) + 1.4, 2)
    panel.axis("off")
    return figure


PICTURES = {
    "layout_homes.svg": draw_homes,
    "layout_exchange.svg": draw_exchange,
}


def draw(folder):
    """Writes all pictures into an existing folder."""
    # One salt and no date: the same rules give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "layouts"}):
        for name, picture in PICTURES.items():
            picture().savefig(folder / name, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--folder", type=pathlib.Path, default=pathlib.Path("docs/images")
    )
    draw(parser.parse_args().folder)


if __name__ == "__main__":
    main()
