"""Are the verdicts on the routing right? Provoked collapses and healthy runs.

    python benchmarks/verdicts.py [--runs=20] [--first_seed=201]
        [--kinds="collapse,healthy,healthy: no warm-up"] [--json=FILE]
        [--picture=FILE.svg]

A layer of experts learns a small regression. The mean of its inputs is far
from zero, which is how a gate gets the chance to prefer an expert for all
tokens alike. Each kind of run has many seeds:

- collapse: no balancing losses, no noise, a rate of 0.01 from the first step.
  `collapsing` must be called before max/mean load passes half of its final
  value.
- healthy: gates as they are meant to be used, rate 0.003. There must be no
  alarm, not even `drifting`; where there was no warm-up the gate leans further
  at first, and `drifting` may be, but not `collapsing`.

Collapses also come with more experts, with the noise left on, and with losses
that are too weak, which only some hold up; healthy runs with more experts, with
tokens of clusters of which some are frequent and most are rare, with longer
windows, with other gates, and at a rate that is high for a start without
warm-up.

Thresholds are the defaults. The collapses take some twenty steps, so windows
are of 4 steps. A gate that starts from random weights starts even, blind to
the mean of the inputs, but for one kind.

N: tokens    D: depth    E: experts    K: experts per token    C: clusters
"""

import argparse
import functools
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402  after the log level
import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

import moe_keras  # noqa: E402
from moe_keras.monitoring import (  # noqa: E402
    LEVELS,
    RoutingRecorder,
    Thresholds,
)

N, D, C = 256, 16, 24
CALLS = ("collapsing", "collapsed")


class QuietGate(moe_keras.NoisyTopKGate):
    """The gate without its noise, in training as well."""

    metric_names = ()

    def build(self, input_shape):
        super().build(input_shape)
        self.noise_kernel.trainable = False

    def call(self, inputs, mask=None, training=False):
        return super().call(inputs, mask=mask, training=False)


# Functions of E and K. At a weight of 0.1, that of the layer's two losses, the
# loss of TopKGate and SwitchGate does not hold this task: the busiest expert
# keeps twice the mean, and the verdict is `drifting` or `collapsing`.
GATES = {
    "noisy_top_k": lambda e, k: moe_keras.NoisyTopKGate(e, k=k),
    "quiet": lambda e, k: QuietGate(e, k=k),
    "hierarchical": lambda e, k: moe_keras.HierarchicalGate(
        4, e // 4, k=(2, k // 2)
    ),
    "top_k": lambda e, k: moe_keras.TopKGate(e, k=k, balance_loss_weight=1.0),
    "switch": lambda e, k: moe_keras.SwitchGate(e, balance_loss_weight=1.0),
    "bias_balanced": lambda e, k: moe_keras.BiasBalancedGate(
        e, k=k, update_rate=0.01
    ),
}
START_AT_RANDOM = ("quiet", "top_k", "switch", "bias_balanced")
COLLAPSE = {"gate": "quiet", "loss_weight": 0.0, "rate": 0.01, "warmup": 0}
KINDS = {
    "collapse": COLLAPSE,
    "collapse: 4 of 32": {**COLLAPSE, "experts": (32, 4)},
    "collapse: noise": {**COLLAPSE, "gate": "noisy_top_k"},
    "collapse: weak losses": {**COLLAPSE, "loss_weight": 0.001},
    "healthy": {},
    "healthy: no warm-up": {"warmup": 0},
    "healthy: twice the rate": {"warmup": 0, "rate": 0.006},
    "healthy: 4 of 32": {"experts": (32, 4)},
    "healthy: clusters": {"clusters": True},
    "healthy: windows of 10": {"window": 10},
    "healthy: hierarchical": {"gate": "hierarchical"},
    "healthy: top_k": {"gate": "top_k"},
    "healthy: uneven start": {"gate": "top_k", "starts_even": False},
    "healthy: switch": {"gate": "switch", "experts": (16, 1)},
    "healthy: bias_balanced": {"gate": "bias_balanced"},
}


class Task:
    """Tokens with a mean far from zero, and a function of them to learn.

    With clusters, the n-th most frequent of C has 1 / n of the tokens of the
    first.
    """

    def __init__(self, seed, clusters=False):
        self._random = np.random.default_rng(seed)
        self.mean = self._random.choice([-1.0, 1.0], size=D)
        self._inner = self._random.normal(size=(D, 2 * D)) / D**0.5
        self._outer = self._random.normal(size=(2 * D, 8)) / (2 * D) ** 0.5
        self._centres = self._random.normal(size=(C, D)) if clusters else None

    def batch(self):
        """Tokens `(N, D)` and targets `(N, 8)`."""
        tokens = self._random.normal(size=(N, D))
        if self._centres is not None:
            share = 1 / np.arange(1, C + 1)
            cluster = self._random.choice(C, size=N, p=share / share.sum())
            tokens = self._centres[cluster] + tokens / 2
        tokens += self.mean
        targets = np.tanh(tokens @ self._inner) @ self._outer
        return tokens.astype("float32"), targets.astype("float32")

    def even_kernel(self, num_experts):
        """A random gate `(D, E)` that the mean of the tokens tells nothing."""
        kernel = self._random.normal(size=(D, num_experts)) / D**0.5
        unit = self.mean / np.linalg.norm(self.mean)
        return kernel - np.outer(unit, unit @ kernel)


class Experiment:
    """One kind of run; its graph is made once and serves all seeds.

    Args:
        gate: str. One of `GATES`.
        loss_weight: float. Of both balancing losses of the layer; None for
            its defaults.
        experts: Pair of int, E and K.
        rate: float. Adam's.
        warmup: int. Steps in which the rate grows.
        clusters: bool. Whether tokens come in clusters.
        window: int. Steps of a window.
        starts_even: bool. Whether a gate of random weights starts blind to
            the mean of the inputs.
    """

    def __init__(
        self,
        gate="noisy_top_k",
        loss_weight=None,
        experts=(16, 2),
        rate=0.003,
        warmup=50,
        clusters=False,
        window=4,
        starts_even=True,
    ):
        self._gate, self._experts = gate, experts
        self._loss_weight = loss_weight
        self._rate, self._warmup, self._window = rate, warmup, window
        self._starts_even = starts_even and gate in START_AT_RANDOM
        self._task = functools.partial(Task, clusters=clusters)
        self._model, self._layer = self._make()
        self._optimizer = keras.optimizers.Adam(rate)
        self._optimizer.build(self._model.trainable_variables)
        self._recorder = RoutingRecorder(self._model)
        self._step = tf.function(self._step_eagerly, autograph=False)

    def run(self, seed, steps):
        """Trains from fresh weights.

        Returns:
            List of `RoutingWindow`.
        """
        keras.utils.set_random_seed(seed)
        task, (fresh, _) = self._task(seed), self._make()
        self._model.set_weights(fresh.get_weights())
        if self._starts_even:
            kernel = task.even_kernel(self._experts[0])
            self._layer.gate.gate_kernel.assign(kernel)
        for variable in self._model.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign([seed, 0])  # noise is the seed's as well
        for variable in self._optimizer.variables:
            if variable is not self._optimizer._learning_rate:
                variable.assign(tf.zeros_like(variable))
        self._recorder.begin(step=0)
        windows = []
        for step in range(1, steps + 1):
            ramp = min(step / max(self._warmup, 1), 1.0)
            self._optimizer.learning_rate = self._rate * ramp
            self._step(*task.batch())
            if step % self._window == 0:
                windows += self._recorder.close(step)
        return windows

    def _make(self):
        layer = moe_keras.SparseMoE(
            self._experts[0],
            gate=GATES[self._gate](*self._experts),
            hidden_dim=D,
            importance_loss_weight=self._loss_weight,
            load_loss_weight=self._loss_weight,
            name="moe",
        )
        inputs = keras.Input((D,))
        hidden = keras.layers.Add()([inputs, layer(inputs)])
        outputs = keras.layers.Dense(8)(hidden)
        return keras.Model(inputs, outputs), layer

    def _step_eagerly(self, tokens, targets):
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            error = self._model(tokens, training=True) - targets
            loss = tf.reduce_mean(error**2) + sum(self._model.losses)
        gradients = tape.gradient(loss, variables)
        self._recorder.add_gradients(gradients, variables)
        self._optimizer.apply(gradients, variables)


def summarise(windows):
    """What one run shows, as a dict."""
    levels = [window.verdict.level for window in windows]
    alarm = next((w for w in windows if w.verdict.level != "healthy"), None)
    call = next((w for w in windows if w.verdict.level in CALLS), None)
    until = [w for w in windows if call is None or w.step <= call.step]
    final = windows[-1].max_over_mean_load
    return {
        "worst": max(levels, key=LEVELS.index),
        "lowest_spread": min(window.spread for window in windows),
        "final_spread": windows[-1].spread,
        "final_max_over_mean": final,
        "first_alarm": alarm and alarm.step,
        "called": call and call.step,
        "called_at": call and max(w.max_over_mean_load for w in until) / final,
    }


def draw(runs, path):
    """Spread over the steps: a panel a kind, a line a run, a dot its call.

    Args:
        runs: Dict from kind to the windows of each of its runs.
        path: str, of the picture.
    """
    limits = Thresholds()
    figure = Figure(figsize=(4 * len(runs), 3.2), layout="constrained")
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for panel, (kind, windows_of_runs) in zip(
        panels, runs.items(), strict=True
    ):
        for windows in windows_of_runs:
            line = [(w.step, w.spread) for w in windows]
            panel.plot(*zip(*line, strict=True), color="#7a7a7a", linewidth=0.7)
            called = [w for w in windows if w.verdict.level in CALLS][:1]
            for window in called:
                panel.plot(window.step, window.spread, "o", color="#d55e00")
        is_kept = KINDS[kind].get("loss_weight") != 0
        first = ("drifting", "collapsing") if is_kept else ("unbalanced",)
        for name in (*first, "collapsed"):
            limit = getattr(limits, f"{name}_spread")
            panel.axhline(limit, color="#0072b2", linewidth=0.8, linestyle="--")
            panel.text(200, limit, name, ha="right", va="bottom", fontsize=8)
        panel.set_title(kind, fontsize=10)
        panel.set_xlabel("training step")
    panels[0].set_ylabel("spread of load")
    panels[0].set_ylim(0, 1.03)
    # One salt and no date: the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "verdicts"}):
        figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first_seed", type=int, default=201)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", help="file for all figures")
    parser.add_argument("--picture", help="file for the spread of all runs")
    options = parser.parse_args()
    results, runs = {}, {}
    for kind in options.kinds.split(","):
        experiment = Experiment(**KINDS[kind])
        results[kind], runs[kind] = [], []
        for seed in range(
            options.first_seed, options.first_seed + options.runs
        ):
            windows = experiment.run(seed, options.steps)
            runs[kind].append(windows)
            results[kind].append({"seed": seed, **summarise(windows)})
            shown = "  ".join(
                f"{name} {value:.3f}"
                if type(value) is float
                else f"{name} {value}"
                for name, value in results[kind][-1].items()
            )
            print(f"{kind:24} {shown}", flush=True)
    print()
    for kind, rows in results.items():
        alarms = sum(row["first_alarm"] is not None for row in rows)
        called = [row["called_at"] for row in rows if row["called"]]
        print(
            f"{kind:24} runs {len(rows)}  with any alarm {alarms}  called "
            f"collapsing {len(called)}, before half of the final max/mean "
            f"{sum(share < 0.5 for share in called)} "
            f"(latest at {max(called, default=0.0):.2f} of it)"
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    if options.picture:
        draw(runs, options.picture)


if __name__ == "__main__":
    main()
