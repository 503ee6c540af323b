"""Are the verdicts on the routing right? Provoked collapses and healthy runs.

    python benchmarks/verdicts.py [--runs=20] [--first_seed=201] [--json=FILE]

A layer of 16 experts, two for each token, learns a small regression. The mean
of its inputs is far from zero, which is how a gate gets the chance to prefer
an expert for all tokens alike. Three kinds of runs, each with many seeds:

- collapse: no balancing losses, no noise, a rate of 0.01 from the first step.
  `collapsing` must be called before max/mean load passes half of its final
  value.
- healthy: the defaults of `SparseMoE`, rate 0.003 after a warm-up. There must
  be no alarm, not even `drifting`.
- healthy, no warm-up: the same without a warm-up. `collapsing` must not be
  called; the gate leans further at first, and `drifting` may be.

The collapses take some twenty steps, so windows are of 2 steps in all of
them, with `drifting_windows` of 20, 40 steps. The gate of the collapsing runs
starts even: random, but blind to the mean of the inputs.

N: tokens    D: depth    E: experts    K: experts per token
"""

import argparse
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402  after the log level
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import moe_keras  # noqa: E402
from moe_keras.monitoring import (  # noqa: E402
    LEVELS,
    RoutingRecorder,
    Thresholds,
)

N, D, E, K = 256, 16, 16, 2
WINDOW = 2  # steps
THRESHOLDS = Thresholds(drifting_windows=20)
CALLS = ("collapsing", "collapsed")
KINDS = {
    "collapse": {"balanced": False, "rate": 0.01, "warmup": 0},
    "healthy": {"balanced": True, "rate": 0.003, "warmup": 50},
    "healthy, no warm-up": {"balanced": True, "rate": 0.003, "warmup": 0},
}


class QuietGate(moe_keras.NoisyTopKGate):
    """The gate without its noise, in training as well."""

    figure_names = ()

    def build(self, input_shape):
        super().build(input_shape)
        self.noise_kernel.trainable = False

    def call(self, inputs, mask=None, training=False):
        return super().call(inputs, mask=mask, training=False)


class Task:
    """Tokens with a mean far from zero, and a function of them to learn."""

    def __init__(self, seed):
        self._random = np.random.default_rng(seed)
        self.mean = self._random.choice([-1.0, 1.0], size=D)
        self._inner = self._random.normal(size=(D, 2 * D)) / D**0.5
        self._outer = self._random.normal(size=(2 * D, 8)) / (2 * D) ** 0.5

    def batch(self):
        """Tokens `(N, D)` and targets `(N, 8)`."""
        tokens = self._random.normal(size=(N, D)) + self.mean
        targets = np.tanh(tokens @ self._inner) @ self._outer
        return tokens.astype("float32"), targets.astype("float32")

    def even_kernel(self):
        """A random gate `(D, E)` that the mean of the tokens tells nothing."""
        kernel = self._random.normal(size=(D, E)) / D**0.5
        unit = self.mean / np.linalg.norm(self.mean)
        return kernel - np.outer(unit, unit @ kernel)


class Experiment:
    """One kind of run; its graph is made once and serves all seeds."""

    def __init__(self, balanced, rate, warmup):
        self._balanced, self._rate, self._warmup = balanced, rate, warmup
        self._model, self._layer = self._make()
        self._optimizer = keras.optimizers.Adam(rate)
        self._optimizer.build(self._model.trainable_variables)
        self._recorder = RoutingRecorder(self._model, thresholds=THRESHOLDS)
        self._step = tf.function(self._step_eagerly, autograph=False)

    def run(self, seed, steps):
        """Trains from fresh weights.

        Returns:
            List of `RoutingWindow`.
        """
        keras.utils.set_random_seed(seed)
        task, (fresh, _) = Task(seed), self._make()
        self._model.set_weights(fresh.get_weights())
        if not self._balanced:
            self._layer.gate.gate_kernel.assign(task.even_kernel())
        for variable in self._optimizer.variables:
            if variable is not self._optimizer._learning_rate:
                variable.assign(tf.zeros_like(variable))
        self._recorder.begin(step=0)
        windows = []
        for step in range(1, steps + 1):
            ramp = min(step / max(self._warmup, 1), 1.0)
            self._optimizer.learning_rate = self._rate * ramp
            self._step(*task.batch())
            if step % WINDOW == 0:
                windows += self._recorder.close(step)
        return windows

    def _make(self):
        weight = 0.1 if self._balanced else 0.0
        layer = moe_keras.SparseMoE(
            E,
            k=K if self._balanced else None,
            gate=None if self._balanced else QuietGate(E, k=K),
            hidden_dim=D,
            importance_loss_weight=weight,
            load_loss_weight=weight,
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first_seed", type=int, default=201)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", help="file for all figures")
    options = parser.parse_args()
    results = {}
    for kind, settings in KINDS.items():
        experiment, results[kind] = Experiment(**settings), []
        for seed in range(
            options.first_seed, options.first_seed + options.runs
        ):
            result = summarise(experiment.run(seed, options.steps))
            results[kind].append({"seed": seed, **result})
            shown = "  ".join(
                f"{name} {value:.3f}"
                if type(value) is float
                else f"{name} {value}"
                for name, value in results[kind][-1].items()
            )
            print(f"{kind:20} {shown}", flush=True)
    print()
    for kind, rows in results.items():
        alarms = sum(row["first_alarm"] is not None for row in rows)
        called = [row["called_at"] for row in rows if row["called"]]
        print(
            f"{kind:20} runs {len(rows)}  with any alarm {alarms}  called "
            f"collapsing {len(called)}, before half of the final max/mean "
            f"{sum(share < 0.5 for share in called)} "
            f"(latest at {max(called, default=0.0):.2f} of it)"
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
