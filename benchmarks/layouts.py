"""What layouts send between devices, hold on each, and cost in time.

    python benchmarks/layouts.py [--rounds=10] [--json=layouts.json]

A training step of one `SparseMoE` layer, forward, backward and Adam, on four
logical devices of the processor: first on one of them, then split in all the
ways that `MeshLayout` and replicas of `tf.distribute` know. A mesh has the
batch on its first device, as the layers before and after would; replicas have
their shares of it. For each

- *sent*: bytes that crossed between devices in a step, all of them, counted
  from the graphs that TensorFlow cut for the devices (benchmarks/crossing.py);
- *planned*: what `moe_keras.plan` says that this layout sends at least, and
  *to planned* the one over the other;
- *to all-to-all*: sent over `4 K N D (R - 1) / R` numbers, there and back,
  forward and backward: the least that tokens on R devices can send to experts
  that are shared out;
- *weights*, *Adam*: bytes of the experts' weights, and of what Adam keeps
  beside them, on the device with most of them, over those of one device;
- *peak*: bytes allocated at the height of the step, variables apart, on the
  busiest device, over those of one device;
- *time*: of a step, over that on one device of the same round.

Four devices of one processor share its cores: time shows what a layout adds,
not what it saves. The gate is balanced to the token, its choices fixed, so
that what is sent is not blurred by chance; `--gate=noisy` takes the paper's.

N: tokens    D: depth    H: hidden size    E: experts    K: experts per token
R: devices
"""

import argparse
import collections
import json
import math
import os
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402  after the log level
import tensorflow as tf  # noqa: E402
from crossing import halfway, trace  # noqa: E402
from interleaved import interleaved_times, median_ratio  # noqa: E402

import moe_keras  # noqa: E402
from moe_keras import plan  # noqa: E402
from moe_keras.parallel import MeshLayout  # noqa: E402
from moe_keras.parallel.replica_placement import ReplicaPlacement  # noqa: E402
from moe_keras.parallel.replica_weight import is_split  # noqa: E402
from moe_keras.parallel.strategies import divide_processor  # noqa: E402
from moe_keras.plan.model import Model, Part  # noqa: E402
from moe_keras.replicas import sum_over_replicas  # noqa: E402
from trainers.optimizer import FusedAdam, apply_on_replica  # noqa: E402

DEVICES = 4
SIZES = {"N": 1024, "D": 64, "H": 128, "E": 16, "K": 2}

# Name in the planner, mesh shape and layout rules.
MESHES = (
    ("mesh, batch and experts", "all:4", "batch:all;experts:all"),
    ("mesh, experts", "all:4", "experts:all"),
    ("mesh, hidden", "all:4", "hidden:all"),
    ("mesh, batch", "all:4", "batch:all"),
    ("mesh, batch 2 x experts 2", "data:2;model:2", "batch:data;experts:model"),
    (
        "mesh, experts 2 x hidden 2",
        "model:2;inner:2",
        "experts:model;hidden:inner",
    ),
)
ONE, REPLICAS = "one device", "replicas, experts shared out"


class BalancedGate(keras.layers.Layer):
    """Each part of a batch asks each expert equally often.

    Token n has the experts `n + j E / K`, weighed by a softmax over their
    logits; only the choice is fixed.
    """

    def __init__(self, num_experts, k):
        super().__init__()
        self.num_experts, self.k = num_experts, k

    def build(self, input_shape):
        self.gate_kernel = self.add_weight(
            name="gate_kernel", shape=(input_shape[-1], self.num_experts)
        )

    def call(self, inputs, mask=None, training=False):
        token_N1 = tf.range(tf.shape(inputs)[0])[:, None]
        step_1K = tf.range(self.k)[None] * (self.num_experts // self.k)
        expert_NK = (token_N1 + step_1K) % self.num_experts
        logits_NE = tf.matmul(inputs, self.gate_kernel)
        gate_NK = tf.nn.softmax(tf.gather(logits_NE, expert_NK, batch_dims=1))

        def by_expert(values_NK):
            return tf.math.unsorted_segment_sum(
                values_NK, expert_NK, self.num_experts
            )

        return moe_keras.Routing(
            expert_index=expert_NK,
            gate=gate_NK,
            importance=by_expert(gate_NK),
            load=by_expert(tf.ones_like(gate_NK)),
            loss=tf.zeros(()),
            figures={},
        )


def make_layer(gate, sizes):
    """A built layer, of the placement in force."""
    experts, k = sizes["E"], sizes["K"]
    kinds = {
        "balanced": lambda: BalancedGate(experts, k),
        "noisy": lambda: moe_keras.NoisyTopKGate(experts, k, seed=0),
    }
    layer = moe_keras.SparseMoE(
        experts, hidden_dim=sizes["H"], gate=kinds[gate]()
    )
    layer.build((None, sizes["D"]))
    return layer


def batch(sizes):
    """Input `(N, D)`, and the gradient of the output `(N, D)`."""
    shape = sizes["N"], sizes["D"]
    return [tf.random.stateless_normal(shape, [1, n]) for n in (2, 3)]


class Case(NamedTuple):
    """A layer, Adam for it, and the step to be measured.

    The step has no arguments. It returns numbers, so that of what it computes
    nothing leaves its device to be looked at.
    """

    layer: keras.layers.Layer
    adam: keras.optimizers.Optimizer
    step: Callable


def gradients_of(layer, x, d_y):
    """Forward and backward: numbers that need the output and the gradient of
    the input, and the gradients of all weights.
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        auxiliary = sum(layer.losses)
    d_outputs = [halfway(d_y, [y, auxiliary]), tf.ones(())]
    d_x, *gradients = tape.gradient(
        [y, auxiliary], [x, *layer.trainable_variables], d_outputs
    )
    return (tf.reduce_sum(y), tf.reduce_sum(d_x)), gradients


def case_of(layer, sizes):
    """The step of a layer that is whole on one device, or under a layout."""
    adam = FusedAdam()
    adam.build(layer.trainable_variables)
    # Constants would be computed with while the graph is made.
    x, d_y = map(tf.Variable, batch(sizes))

    @tf.function
    def step():
        numbers, gradients = gradients_of(layer, tf.identity(x), d_y)
        apply_on_replica(adam, gradients, layer.trainable_variables)
        return numbers

    return Case(layer, adam, step)


def on_mesh(gate, sizes, mesh_shape, rules):
    with MeshLayout(mesh_shape, rules).scope():
        layer = make_layer(gate, sizes)
    return case_of(layer, sizes)


def on_replicas(gate, sizes):
    strategy = tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(DEVICES)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    with strategy.scope(), ReplicaPlacement(strategy).scope():
        layer = make_layer(gate, sizes)
        adam = FusedAdam()
        adam.build(layer.trainable_variables)
    x, d_y = (_shared_out(strategy, whole) for whole in batch(sizes))

    def of_replica():
        numbers, gradients = gradients_of(layer, tf.identity(x), d_y)
        variables = layer.trainable_variables
        summed = [
            gradient if is_split(variable) else sum_over_replicas(gradient)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        apply_on_replica(adam, summed, variables)
        return numbers

    @tf.function
    def step():
        results = strategy.run(of_replica)
        return tf.nest.map_structure(
            strategy.experimental_local_results, results
        )

    return Case(layer, adam, step)


def _shared_out(strategy, whole):
    """A variable of which each replica has its share of the rows."""
    shares = tf.split(whole, strategy.num_replicas_in_sync)
    with strategy.scope():
        variable = tf.Variable(
            shares[0],
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.NONE,
        )
    for copy, share in zip(variable.values, shares, strict=True):
        copy.assign(share)
    return variable


def cases(gate, sizes, only=""):
    """A `Case` of each layout whose name has `only` in it, by its name."""
    made = {ONE: case_of(make_layer(gate, sizes), sizes)}
    for name, mesh_shape, rules in MESHES:
        if only in name:
            made[name] = on_mesh(gate, sizes, mesh_shape, rules)
    if only in REPLICAS:
        made[REPLICAS] = on_replicas(gate, sizes)
    return made


def most_bytes(variables):
    """Bytes of variables on the device that has most of them."""
    held = collections.Counter()
    for variable in variables:
        copies = getattr(variable.value, "values", (variable.value,))
        for copy in copies:
            held[copy.device] += copy.dtype.size * math.prod(copy.shape)
    return max(held.values())


def planned_bytes(name, sizes):
    """What the planner says that a layout sends at least."""
    # The balanced gate has the one kernel of a plain top-k gate.
    layer = plan.MoE(
        *(sizes[letter] for letter in "DHEK"), gate="top_k", bias=True
    )
    model = Model("", Part(), (layer,), sizes["N"])
    for layout in plan.layouts(model, DEVICES):
        if layout.name == name:
            counted = plan.traffic(model, layout, plan.Training())
            return counted.exchange + counted.reduce
    return 0


def measure(made, sizes, rounds):
    """A row for each layout."""
    numbers = sizes["K"] * sizes["N"] * sizes["D"] * (DEVICES - 1) / DEVICES
    all_to_all = 4 * 4 * numbers  # four times, of four bytes
    steps = {
        name: lambda step=step: [
            number.numpy() for number in tf.nest.flatten(step())
        ]
        for name, (_, _, step) in made.items()
    }
    times = interleaved_times(steps, rounds)
    rows = []
    for name, (layer, adam, step) in made.items():
        seen = trace(step)
        planned = planned_bytes(name, sizes)
        rows.append(
            {
                "layout": name,
                "sent_bytes": seen.bytes,
                "planned_bytes": planned,
                "to_planned": seen.bytes / planned if planned else 0.0,
                "to_all_to_all": seen.bytes / all_to_all,
                "expert_bytes": most_bytes(layer.experts.trainable_variables),
                "adam_bytes": most_bytes(
                    v for v in adam.variables if "experts" in v.path
                ),
                "peak_bytes": max(seen.peaks.values()),
                "time_ratio": median_ratio(times[name].wall, times[ONE].wall),
                "largest": [
                    crossing._asdict()
                    for crossing in sorted(
                        seen.crossings, key=lambda c: -c.bytes
                    )[:8]
                ],
            }
        )
    for row in rows:
        for name in ("expert_bytes", "adam_bytes", "peak_bytes"):
            row[f"{name}_ratio"] = row[name] / rows[0][name]
    return rows


def as_table(rows):
    """The rows as text."""
    head = (
        "sent kB", "planned kB", "to planned", "to all-to-all", "weights",
        "Adam", "peak", "time",
    )  # fmt: skip
    lines = [f"{'layout':30}" + "".join(f"{name:>14}" for name in head)]
    for row in rows:
        cells = (
            f"{row['sent_bytes'] / 1e3:,.0f}",
            f"{row['planned_bytes'] / 1e3:,.0f}",
            f"{row['to_planned']:.2f}",
            f"{row['to_all_to_all']:.2f}",
            f"{row['expert_bytes_ratio']:.3f}",
            f"{row['adam_bytes_ratio']:.3f}",
            f"{row['peak_bytes_ratio']:.2f}",
            f"{row['time_ratio']:.2f}",
        )
        lines.append(
            f"{row['layout']:30}" + "".join(f"{cell:>14}" for cell in cells)
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--gate", choices=("balanced", "noisy"), default="balanced"
    )
    parser.add_argument(
        "--only", default="", help="part of the names of layouts to measure"
    )
    parser.add_argument("--json", help="file for all figures")
    options = parser.parse_args()
    divide_processor(DEVICES)
    rows = measure(
        cases(options.gate, SIZES, options.only), SIZES, options.rounds
    )
    print(as_table(rows))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"sizes": SIZES, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
