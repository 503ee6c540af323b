"""A hierarchy of gates beside a flat one: time and memory.

    python benchmarks/hierarchical_gate.py [--tokens=1024] [--memory_gb=8]

The hierarchical gate chooses among `--groups` x `--experts` experts, by
default 131,072, the most of the paper; the flat one begins with as many, and
with half of them again and again until it bears the tokens within
`--memory_gb`. Both choose 4 experts for each token.

Each gate has a process of its own, which tells the median times of a call
without noise and of a training step (gates and balancing losses, forward and
backward), and the peak of its resident memory. A process without a gate is
the baseline; one that takes too much memory ends itself.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402  after the log level
import tensorflow as tf  # noqa: E402

import moe_keras  # noqa: E402
from moe_keras.losses import importance_loss, load_loss  # noqa: E402

_TOO_MUCH_MEMORY = 3  # exit code


def peak_gb():
    """Peak of this process's resident memory (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def end_beyond(limit_gb):
    """Ends this process as soon as it has taken more than the limit."""

    def watch():
        while peak_gb() < limit_gb:
            time.sleep(0.02)
        os._exit(_TOO_MUCH_MEMORY)

    threading.Thread(target=watch, daemon=True).start()


def hierarchical_gate(num_experts, num_groups):
    return moe_keras.HierarchicalGate(
        num_groups, num_experts // num_groups, k=(2, 2)
    )


def flat_gate(num_experts, num_groups):
    del num_groups
    return moe_keras.NoisyTopKGate(num_experts, k=4)


def make_steps(gate, x):
    """Functions that call the gate, and that train it, by name."""

    @tf.function(autograph=False)
    def forward(x):
        return [gate(x).gate]

    @tf.function(autograph=False)
    def forward_and_backward(x):
        with tf.GradientTape() as tape:
            routing = gate(x, training=True)
            loss = importance_loss(routing.importance)
            loss += load_loss(routing.load)
            loss += tf.reduce_sum(routing.gate**2)
        return tape.gradient(loss, gate.trainable_variables)

    steps = {"forward": forward, "training": forward_and_backward}
    return {name: lambda step=step: step(x) for name, step in steps.items()}


def median_ms(step, rounds):
    """Medians of wall and processor time; the first round only traces."""
    rows = []
    for _ in range(rounds + 1):
        wall, processor = time.perf_counter(), time.process_time()
        for result in step():
            result[0].numpy()  # waits
        rows.append(
            (time.perf_counter() - wall, time.process_time() - processor)
        )
    columns = zip(*rows[1:], strict=True)
    return [1000 * statistics.median(column) for column in columns]


def measure(make_gate, num_experts, options, sender):
    """What a process does: one gate, or none, whose figures it sends."""
    end_beyond(options.memory_gb)
    x = keras.random.normal((options.tokens, options.depth))
    figures = {}
    if make_gate is not None:
        gate = make_gate(num_experts, options.groups)
        gate.build(x.shape)
        for kernel in gate.trainable_variables:
            scale = options.depth**-0.5
            kernel.assign(keras.random.normal(kernel.shape, stddev=scale))
        for name, step in make_steps(gate, x).items():
            figures[name] = median_ms(step, options.rounds)
    sender.send({**figures, "peak_gb": peak_gb()})


def measure_apart(make_gate, num_experts, options):
    """Figures of a gate in a new process; None if it took too much memory."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (make_gate, num_experts, options, sender)
    process = context.Process(target=measure, args=arguments)
    process.start()
    process.join()
    if process.exitcode == _TOO_MUCH_MEMORY:
        return None
    if process.exitcode:
        raise RuntimeError(f"The process ended with {process.exitcode}.")
    return receiver.recv()


def print_row(name, num_experts, figures):
    row = f"{name:14}{num_experts:>8}"
    if figures is None:
        print(row + "  too much memory", flush=True)
        return
    for step in ("forward", "training"):
        row += "".join(f"{ms:10.0f}" for ms in figures.get(step, (0, 0)))
    print(f"{row}{figures['peak_gb']:9.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--groups", type=int, default=256)
    parser.add_argument("--experts", type=int, default=512, help="of a group")
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory_gb", type=float, default=8)
    options = parser.parse_args()
    print(f"{options.tokens} tokens of depth {options.depth}; wall, processor")
    print(f"{'':18}experts          forward ms         training ms     GB")
    print_row("no gate", 0, measure_apart(None, 0, options))
    num_experts = options.groups * options.experts
    figures = measure_apart(hierarchical_gate, num_experts, options)
    print_row("hierarchical", num_experts, figures)
    figures = None
    while figures is None:
        figures = measure_apart(flat_gate, num_experts, options)
        print_row("flat", num_experts, figures)
        num_experts //= 2


if __name__ == "__main__":
    main()
