"""What a training step of one `SparseMoE` costs, from 4 to 131,072 experts.

    TF_ENABLE_ONEDNN_OPTS=1 python benchmarks/many_experts.py \\
        [--experts 4 32 256 1024-h 4096-h 16384-h 65536-h 131072-h] \\
        [--busy=256] [--tokens=1024] [--json=many_experts.json]

The tokens of a step are copies of `busy / k` different ones, and the gates
have no noise, so that about equally many experts are busy whatever their
number. `-h` takes a hierarchical gate. Each number of experts is measured in a
process of its own, by turns with a layer of 1,024-h experts; the ratio is the
median over rounds of the two. Columns, in ms of the processor's time, which
other work on the machine hardly changes:

- gate, forward, and forward with backward; gradients are those of busy experts
  alone (`sparse_gradients`),
- the update by `FactoredAdam(lazy=True)`, with the norm of the gradient, and
  the whole step, beside that of a step with whole gradients (`--whole`),
- the limit: the weights of busy experts are read twice, their gradients
  written and read once, and the weights read and written: these bytes over the
  speed at which this processor copies memory; and the same with the weights of
  the gate, those of groups that have tokens alone,
- bytes for each parameter of an expert, by the resident memory at its height.

N: tokens    D: depth    H: hidden size    E: experts    K: experts per token
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from interleaved import interleaved_times, median_ratio  # noqa: E402

import moe_keras  # noqa: E402

ALL = ("4", "32", "256", "1024-h", "4096-h", "16384-h", "65536-h", "131072-h")
# Groups of the hierarchical gates, those of the paper's tables 7 and 8.
GROUPS = {1024: 32, 4096: 64, 16_384: 128, 65_536: 256, 131_072: 256}
REFERENCE = "1024-h"
K = 4
_MIB = 2**20


def make_layer(name, depth, hidden, sparse=True):
    """A built layer of so many experts, whose gate draws no noise."""
    num_experts = int(name.removesuffix("-h"))
    if name.endswith("-h"):
        groups = GROUPS[num_experts]
        gate = moe_keras.HierarchicalGate(
            groups, num_experts // groups, k=(2, 2), sparse_gradients=sparse
        )
    else:
        gate = moe_keras.NoisyTopKGate(num_experts, k=K)
    layer = moe_keras.SparseMoE(
        num_experts,
        gate=gate,
        expert=moe_keras.FeedForwardExperts(
            num_experts, hidden, use_bias=False, sparse_gradients=sparse
        ),
    )
    layer.build((None, depth))
    random = np.random.default_rng(1)
    for weight in gate.weights:
        if "gate_kernel" in weight.name:
            weight.assign(random.normal(size=weight.shape))
        elif "noise_kernel" in weight.name:
            # The first feature of a token is 1: softplus(-30) is no noise.
            kernel = np.zeros(weight.shape, "float32")
            kernel[..., 0, :] = -30
            weight.assign(kernel)
    return layer


def make_tokens(tokens, busy, depth):
    """`(N, D)`: copies of so many tokens that about `busy` experts have some.

    >>> tuple(make_tokens(tokens=10, busy=8, depth=3).shape)
    (10, 3)
    """
    random = np.random.default_rng(0)
    different = random.normal(size=(max(1, busy // K), depth))
    rows = different[np.arange(tokens) % len(different)]
    rows[:, 0] = 1
    return tf.constant(rows, tf.float32)


class Steps:
    """Parts of a training step of a layer, as functions without arguments."""

    def __init__(self, layer, tokens, lazy=True):
        self._layer = layer
        self._tokens = tokens
        self._variables = layer.trainable_variables
        self._optimizer = moe_keras.FactoredAdam(1e-4, lazy=lazy)
        self._optimizer.build(self._variables)
        self._step = tf.function(self._whole_step, autograph=False)
        self._gradients = tf.function(self._backward, autograph=False)
        self._forward = tf.function(
            lambda: self._layer(self._tokens, training=True), autograph=False
        )
        self._gate = tf.function(
            lambda: self._layer.gate(self._tokens, training=True).gate,
            autograph=False,
        )

    def _backward(self):
        with tf.GradientTape() as tape:
            outputs = self._layer(self._tokens, training=True)
            loss = tf.reduce_mean(outputs**2)
            total = tf.add_n([loss, *self._layer.losses])
        return tape.gradient(total, self._variables)

    def _whole_step(self):
        gradients = self._backward()
        norm = tf.linalg.global_norm(gradients)
        self._optimizer.apply(
            gradients, self._variables, 1 / tf.maximum(norm, 1.0)
        )
        return norm

    def run(self, part):
        return {
            "gate": lambda: self._gate().numpy(),
            "forward": lambda: self._forward().numpy(),
            # Slices have no `numpy`: their values are waited for.
            "backward": lambda: [
                getattr(g, "values", g)[:1].numpy() for g in self._gradients()
            ],
            "step": lambda: self._step().numpy(),
        }[part]

    def busy(self):
        """How many experts have tokens."""
        return len(np.unique(self._layer.gate(self._tokens).expert_index))

    def busy_gate(self):
        """How many numbers of the gate's weights a step needs."""
        gate = self._layer.gate
        sizes = sum(int(np.prod(weight.shape)) for weight in gate.weights)
        if not isinstance(gate, moe_keras.HierarchicalGate):
            return sizes
        stacks = 2 * int(np.prod(gate.gate_kernel.shape))
        expert_NK = gate(self._tokens).expert_index.numpy()
        busy = len(np.unique(expert_NK // gate.experts_per_group))
        return sizes - stacks + stacks * busy // gate.num_groups


def copy_speed(megabytes=256, rounds=5):
    """Bytes per second that are read and written in copying memory."""
    array = np.ones(megabytes * _MIB // 4, np.float32)
    target = np.empty_like(array)
    times = interleaved_times(
        {"copy": lambda: np.copyto(target, array)}, rounds
    )
    return 2 * array.nbytes / min(times["copy"].processor)


def resident():
    """Bytes of resident memory, at its height so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(name, options):
    """The row of one number of experts, as a dict."""
    tokens = make_tokens(options.tokens, options.busy, options.depth)
    reference = Steps(
        make_layer(REFERENCE, options.depth, options.hidden), tokens
    )
    interleaved_times({"reference": reference.run("step")}, 2)
    before = resident()
    layer = make_layer(name, options.depth, options.hidden)
    steps = Steps(layer, tokens)
    kernels = sum(
        int(np.prod(weight.shape))
        for weight in layer.experts.trainable_variables
    )
    run = {part: steps.run(part) for part in ("gate", "forward", "backward")}
    run |= {"step": steps.run("step"), "reference": reference.run("step")}
    times = interleaved_times(run, options.rounds)
    height = resident() - before
    ms = {part: 1e3 * statistics.median(times[part].processor) for part in run}
    busy = steps.busy()
    numbers = busy * kernels / layer.num_experts
    ms_a_number = 1e3 * 6 * 4 / copy_speed()
    row = {
        "experts": name,
        "busy": busy,
        "parameters": kernels,
        **{part: ms[part] for part in ("gate", "forward", "backward", "step")},
        "update": ms["step"] - ms["backward"],
        "limit": numbers * ms_a_number,
        "limit_with_gate": (numbers + steps.busy_gate()) * ms_a_number,
        "to_reference": median_ratio(
            times["step"].processor, times["reference"].processor
        ),
        "bytes_per_parameter": height / kernels,
    }
    if options.whole:
        whole = Steps(
            make_layer(name, options.depth, options.hidden, sparse=False),
            tokens,
            lazy=False,
        )
        times = interleaved_times({"step": whole.run("step")}, options.rounds)
        row["whole"] = 1e3 * statistics.median(times["step"].processor)
    return row


def as_markdown(rows):
    """The table.

    >>> row = dict(experts="4", busy=4, parameters=8e6, gate=1, forward=2,
    ...            backward=3, update=1, step=4, limit=0.5,
    ...            limit_with_gate=0.6, to_reference=1,
    ...            bytes_per_parameter=8.1)
    >>> print(as_markdown([row]).splitlines()[-1])
    | 4 | 4 | 8.0 | 1.0 | 2.0 | 3.0 | 1.0 | 4.0 |  | 0.5 | 0.6 | 1.00 | 8.1 |
    """
    lines = [
        "| experts | busy | parameters, M | gate | forward | forward and "
        "backward | update | step | step, whole gradients | limit | limit "
        f"with gate | to {REFERENCE} | bytes a parameter |",
        "| --- " * 13 + "|",
    ]
    for row in rows:
        whole = f"{row['whole']:.1f}" if "whole" in row else ""
        lines.append(
            f"| {row['experts']} | {row['busy']} | "
            f"{row['parameters'] / 1e6:.1f} | {row['gate']:.1f} | "
            f"{row['forward']:.1f} | {row['backward']:.1f} | "
            f"{row['update']:.1f} | {row['step']:.1f} | {whole} | "
            f"{row['limit']:.1f} | {row['limit_with_gate']:.1f} | "
            f"{row['to_reference']:.2f} | "
            f"{row['bytes_per_parameter']:.1f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--experts", nargs="*", choices=ALL, default=ALL)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--busy", type=int, default=256)
    parser.add_argument("--depth", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--json", help="file for the rows")
    parser.add_argument("--one", choices=ALL, help=argparse.SUPPRESS)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    rows = []
    for name in options.experts:
        answer = subprocess.run(
            [sys.executable, *sys.argv, f"--one={name}"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        rows.append(json.loads(answer.stdout.splitlines()[-1]))
        print(as_markdown(rows[-1:]).splitlines()[-1], flush=True)
    print(platform.processor() or platform.machine())
    print(as_markdown(rows))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
