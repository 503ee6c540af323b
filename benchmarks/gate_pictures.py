"""What each gate does to the load of the same batch, in pictures.

    python benchmarks/gate_pictures.py [--steps=300] [--folder=docs/images]

One small task, learnt by one `SparseMoE` layer after the other, each with
another gate: tokens come in 24 kinds, a few of them frequent and most of them
rare, and each kind wants a linear map of its own. All routers start with the
same kernel, which prefers two of the eight experts, so that what a gate does
about an uneven load can be seen; all balancing losses weigh 0.1. The two
experts are one of the four groups of the hierarchical gate. Three pictures
are drawn, all of the routing at inference of one batch that is not trained on:

- gate_loads.svg: the load of each expert before and after training.
- gate_balance.svg: CV(load) during training.
- gate_experts_per_token.svg: how many experts tokens have, for gates that
  leave it open.

Needs matplotlib (`pip install -e .[plots]`). The numbers differ a little from
machine to machine.

N: tokens    D: depth    E: experts
"""

import argparse
import os
import pathlib
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402  after the log level
import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

import moe_keras  # noqa: E402

TOKENS, DEPTH, KINDS, EXPERTS = 512, 16, 24, 8
EVERY = 10  # steps between two points of a curve
WEIGHT = 0.1  # of every balancing loss, as is the default of SparseMoE's own

GATES = {
    "TopKGate, no loss": lambda: moe_keras.TopKGate(
        EXPERTS, k=2, balance_loss_weight=0.0
    ),
    "NoisyTopKGate": lambda: moe_keras.NoisyTopKGate(EXPERTS, k=2, seed=0),
    "TopKGate": lambda: moe_keras.TopKGate(
        EXPERTS, k=2, balance_loss_weight=WEIGHT
    ),
    "SwitchGate": lambda: moe_keras.SwitchGate(
        EXPERTS, balance_loss_weight=WEIGHT, seed=0
    ),
    "BiasBalancedGate": lambda: moe_keras.BiasBalancedGate(
        EXPERTS, k=2, update_rate=0.01
    ),
    "ThresholdGate": lambda: moe_keras.ThresholdGate(
        EXPERTS, target=2.0, balance_loss_weight=WEIGHT
    ),
    "ExpertChoiceGate": lambda: moe_keras.ExpertChoiceGate(
        EXPERTS, causal=False
    ),
    "HierarchicalGate": lambda: moe_keras.HierarchicalGate(
        EXPERTS // 2, 2, k=(2, 1), seed=0
    ),
    "BatchwiseGate": lambda: moe_keras.BatchwiseGate(EXPERTS, k=2),
}
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = (
    "#999999",
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
    "#000000",
    "#F0E442",
)


class Record(NamedTuple):
    """What was seen of one gate.

    Attributes:
        before: float array `(E,)`. Load on the batch before training.
        after: float array `(E,)`. Load on the same batch after it.
        balance: List of CV(load), every `EVERY` steps from step 0 on.
        experts: int array. Share of the tokens that have 0, 1, 2, ... experts
            after training.
    """

    before: np.ndarray
    after: np.ndarray
    balance: list
    experts: np.ndarray


class Task:
    """Tokens of frequent and rare kinds, and what is to become of them."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        frequency = 1 / np.arange(1, KINDS + 1)  # Zipf's law
        self.frequency = frequency / frequency.sum()
        self.centres = self.rng.normal(size=(KINDS, DEPTH - 1))
        self.maps = self.rng.normal(size=(KINDS, DEPTH, DEPTH)) / DEPTH**0.5

    def batch(self):
        """Inputs and outputs, `(N, D)` each; the first feature is 1."""
        kinds = self.rng.choice(KINDS, TOKENS, p=self.frequency)
        x_ND = self.centres[kinds] + 0.3 * self.rng.normal(
            size=(TOKENS, DEPTH - 1)
        )
        x_ND = np.concatenate([np.ones((TOKENS, 1)), x_ND], axis=1)
        y_ND = np.einsum("nd,nde->ne", x_ND, self.maps[kinds])
        return x_ND.astype("float32"), y_ND.astype("float32")


def uneven_kernel(seed=0):
    """A router's kernel that prefers experts 0 and 1 for all tokens."""
    rng = np.random.default_rng(seed)
    kernel_DE = 0.2 * rng.normal(size=(DEPTH, EXPERTS))
    kernel_DE[0, :2] += 1.0
    return kernel_DE


def start_uneven(gate):
    """Gives a built gate the uneven kernel.

    Of a hierarchical one each group has its columns, and the primary gate the
    mean of these.
    """
    kernel_DE = uneven_kernel()
    if not isinstance(gate, moe_keras.HierarchicalGate):
        gate.gate_kernel.assign(kernel_DE)
        return
    kernel_DGM = kernel_DE.reshape(DEPTH, gate.num_groups, -1)
    gate.primary.gate_kernel.assign(kernel_DGM.mean(axis=2))
    gate.gate_kernel.assign(kernel_DGM.transpose(1, 0, 2))


def cv(load_E):
    """Coefficient of variation."""
    return float(moe_keras.losses.cv_squared(load_E)) ** 0.5


def watch(make_gate, steps):
    """Trains a layer with this gate, looking at its load on one batch.

    Args:
        make_gate: Function that makes a new gate.
        steps: int. Training steps.

    Returns:
        A `Record`.
    """
    keras.utils.set_random_seed(0)
    task, gate = Task(), make_gate()
    layer = moe_keras.SparseMoE(EXPERTS, hidden_dim=32, gate=gate)
    layer.build((None, DEPTH))
    start_uneven(gate)
    optimizer = keras.optimizers.Adam(3e-3)
    optimizer.build(layer.trainable_variables)
    batch_ND, _ = task.batch()

    @tf.function(autograph=False)
    def step(x_ND, y_ND):
        with tf.GradientTape() as tape:
            error = tf.reduce_mean((layer(x_ND, training=True) - y_ND) ** 2)
            loss = error + sum(layer.losses)
        variables = layer.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    before = gate(batch_ND).load.numpy()
    balance = [cv(before)]
    for number in range(1, steps + 1):
        step(*task.batch())
        if number % EVERY == 0:
            balance.append(cv(gate(batch_ND).load))
    routing = gate(batch_ND)
    experts_N = np.sum(routing.expert_index.numpy() >= 0, axis=1)
    return Record(
        before=before,
        after=routing.load.numpy(),
        balance=balance,
        experts=np.bincount(experts_N) / len(experts_N),
    )


def draw_loads(records, steps):
    """A panel for each gate, with the load of each expert over the mean."""
    columns = 4
    rows = -(-len(records) // columns)
    figure = Figure(figsize=(10, 2.6 * rows), layout="constrained")
    panels = figure.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False
    )
    place = np.arange(EXPERTS)
    for panel in panels.flat[len(records) :]:
        panel.set_visible(False)
    for panel, (name, record) in zip(
        panels.flat, records.items(), strict=False
    ):
        for shift, load_E, colour, label in (
            (-0.2, record.before, "#CCCCCC", "before training"),
            (0.2, record.after, COLOURS[1], f"after {steps} steps"),
        ):
            panel.bar(
                place + shift,
                load_E / load_E.mean(),
                width=0.4,
                color=colour,
                label=label,
            )
        panel.axhline(1, color="black", linewidth=0.8, linestyle="--")
        panel.set_title(
            f"{name}\nCV(load) {cv(record.before):.2f} → "
            f"{cv(record.after):.2f}",
            fontsize=9,
        )
        panel.set_xticks(place)
        panel.tick_params(labelbottom=True)
    figure.supxlabel("expert", fontsize=9)
    figure.supylabel("load / mean load", fontsize=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower right", ncols=2, fontsize=9
    )
    return figure


def draw_balance(records, steps):
    """A curve for each gate: CV(load) over the steps."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    panel = figure.subplots()
    for colour, (name, record) in zip(COLOURS, records.items(), strict=False):
        panel.plot(
            EVERY * np.arange(len(record.balance)),
            record.balance,
            color=colour,
            label=name,
            clip_on=False,  # a curve along the axis is one as well
        )
    panel.set_xlim(0, steps)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("training step")
    panel.set_ylabel("CV(load); 0 is even")
    figure.legend(loc="outside right upper", fontsize=9, frameon=False)
    return figure


def draw_experts_per_token(records, steps):
    """Bars for each gate by which the number of experts varies."""
    varying = {
        name: record
        for name, record in records.items()
        if np.count_nonzero(record.experts) > 1
    }
    figure = Figure(figsize=(8, 3), layout="constrained")
    panel = figure.subplots()
    width = 0.8 / max(len(varying), 1)
    for turn, (name, record) in enumerate(varying.items()):
        mean = np.sum(np.arange(len(record.experts)) * record.experts)
        panel.bar(
            np.arange(len(record.experts)) + (turn + 0.5) * width - 0.4,
            record.experts,
            width=width,
            color=COLOURS[1 + 3 * turn],
            label=f"{name}, mean {mean:.2f}",
        )
    most = max((len(record.experts) for record in varying.values()), default=1)
    panel.set_xticks(np.arange(most))
    panel.set_xlabel(f"experts of a token, after {steps} steps")
    panel.set_ylabel("share of tokens")
    if varying:
        panel.legend(frameon=False, fontsize=9)
    return figure


PICTURES = {
    "gate_loads.svg": draw_loads,
    "gate_balance.svg": draw_balance,
    "gate_experts_per_token.svg": draw_experts_per_token,
}


def watch_all(gates, steps):
    """Watches gates, prints their figures, and returns their records.

    Args:
        gates: Dict from name to a function that makes the gate.
        steps: int. Training steps.

    Returns:
        Dict from name to `Record`.
    """
    records = {}
    for name, make_gate in gates.items():
        record = records[name] = watch(make_gate, steps)
        print(
            f"{name:20} CV(load) {cv(record.before):.3f} -> "
            f"{cv(record.after):.3f}   max/mean load "
            f"{record.after.max() / record.after.mean():.3f}",
            flush=True,
        )
    return records


def draw(records, steps, folder):
    """Writes all pictures into an existing folder."""
    # One salt and no date: the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "gates"}):
        for name, picture in PICTURES.items():
            picture(records, steps).savefig(
                folder / name, metadata={"Date": None}
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument(
        "--folder", type=pathlib.Path, default=pathlib.Path("docs/images")
    )
    options = parser.parse_args()
    draw(watch_all(GATES, options.steps), options.steps, options.folder)


if __name__ == "__main__":
    main()
