"""SparseMoE against a dense layer of the same multiply-adds, and one-hot.

    TF_ENABLE_ONEDNN_OPTS=1 python benchmarks/moe_layer.py [--rounds=20] \\
        [--threads_per_operation=1] [--json=moe_layer.json]

A dense layer of hidden size k x H does the same multiply-adds for each token
as k experts of hidden size H; what SparseMoE takes more is the price of the
gate, of dispatch and combine, of smaller matrix products, and of E times as
many weights to read and gradients to write. One-hot dispatch (GShard, Mesh-
TensorFlow) multiplies with `(N, E, C)` tensors instead of gathering.

oneDNN is what `trainers` takes, and one thread an operation: experts then run
side by side instead of one after the other with shared-out products, and a
dense layer, of which only the backward pass has products side by side, gains
nothing from a second core.

Candidates take turns, so that other work on the machine hits them alike; a
ratio is the median over rounds of the time over the dense one of that round,
in wall time and in processor time of all threads.

N: tokens    D: depth    H: hidden size    E: experts    K: experts per token
C: capacity
"""

import argparse
import json
import os
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402  after the log level
import tensorflow as tf  # noqa: E402
from interleaved import interleaved_times, median_ratio  # noqa: E402

import moe_keras  # noqa: E402

# Tokens, depth, hidden size, experts, experts per token.
CASES = (
    (4096, 256, 512, 32, 2),
    (2048, 256, 512, 8, 2),
    (1024, 256, 512, 16, 2),
    (64, 256, 512, 16, 2),
)


class OneHotMoE(keras.layers.Layer):
    """Dispatch by products with one-hot tensors, as in Mesh-TensorFlow."""

    def __init__(self, num_experts, k, hidden_dim, capacity_factor=1.25):
        super().__init__()
        self.num_experts = num_experts
        self.k = k
        self.capacity_factor = capacity_factor
        self.gate = moe_keras.NoisyTopKGate(num_experts, k)
        self.experts = moe_keras.FeedForwardExperts(num_experts, hidden_dim)

    def build(self, input_shape):
        self.gate.build(input_shape)
        self.experts.build((self.num_experts, *input_shape))

    def call(self, inputs, training=False):
        slots = (
            self.capacity_factor * self.k * inputs.shape[0] / self.num_experts
        )
        routing = self.gate(inputs, training=training)
        mask_KNE = tf.one_hot(
            tf.transpose(routing.expert_index), self.num_experts
        )
        flat = tf.reshape(mask_KNE, [-1, self.num_experts])
        place = tf.reshape(
            tf.cumsum(flat, exclusive=True) * flat, mask_KNE.shape
        )
        place_KN = tf.cast(tf.reduce_sum(place, -1), tf.int32)
        slot_KNC = tf.one_hot(place_KN, int(slots))
        combine_NEC = tf.einsum(
            "NK,KNE,KNC->NEC", routing.gate, mask_KNE, slot_KNC
        )
        dispatch_NEC = tf.cast(combine_NEC > 0, inputs.dtype)
        batch_ECD = tf.einsum("NEC,ND->ECD", dispatch_NEC, inputs)
        if training:
            self.add_loss(
                moe_keras.losses.importance_loss(routing.importance)
                + moe_keras.losses.load_loss(routing.load)
            )
        return tf.einsum("NEC,ECD->ND", combine_NEC, self.experts(batch_ECD))


def make_layers(tokens, depth, hidden_dim, num_experts, k):
    """The candidates by name; the first is what the others are held against."""
    layers = {
        "dense": keras.Sequential(
            [
                keras.layers.Dense(k * hidden_dim, activation="relu"),
                keras.layers.Dense(depth),
            ]
        ),
        "SparseMoE": moe_keras.SparseMoE(num_experts, k, hidden_dim),
        "SparseMoE, collapsed": moe_keras.SparseMoE(num_experts, k, hidden_dim),
        "one-hot, capacity 1.25": OneHotMoE(num_experts, k, hidden_dim),
    }
    for layer in layers.values():
        layer.build((tokens, depth))
    # The first feature of every token is 1: all of them prefer k experts.
    favour = [[40.0] * k + [0.0] * (num_experts - k)]
    kernel = tf.concat([favour, tf.zeros((depth - 1, num_experts))], 0)
    layers["SparseMoE, collapsed"].gate.gate_kernel.assign(kernel)
    return layers


def make_step(layer, x, d_y, backward):
    """A function that runs the layer once, until the result is there."""

    @tf.function(autograph=False)
    def step(x, d_y):
        if not backward:
            return [layer(x, training=False)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y * d_y) + sum(layer.losses)
        # With the loss, as training has it: this one has a gradient that does
        # without outputs, and TensorFlow would leave out the last product of a
        # dense layer, one of six.
        return [loss, *tape.gradient(loss, [x, *layer.trainable_variables])]

    return lambda: [result.numpy() for result in step(x, d_y)[:1]]


def run_case(case, rounds):
    """Times all candidates of one case; a list of rows for the table."""
    tokens, depth, *_ = case
    x = tf.random.normal((tokens, depth))
    x = tf.concat([tf.ones((tokens, 1)), x[:, 1:]], 1)
    d_y = tf.random.normal((tokens, depth))
    layers, rows = make_layers(*case), []
    for what in ("forward", "forward and backward"):
        times = interleaved_times(
            {
                name: make_step(layer, x, d_y, backward="back" in what)
                for name, layer in layers.items()
            },
            rounds,
        )
        dense = times["dense"]
        for name, ours in times.items():
            rows.append(
                {
                    "case": dict(zip("NDHEK", case, strict=True)),
                    "what": what,
                    "layer": name,
                    "median_ms": 1000 * statistics.median(ours.wall),
                    "best_ms": 1000 * min(ours.wall),
                    "wall_ratio": median_ratio(ours.wall, dense.wall),
                    "processor_ratio": median_ratio(
                        ours.processor, dense.processor
                    ),
                }
            )
    return rows


def print_rows(rows):
    case = " ".join(f"{k}={v}" for k, v in rows[0]["case"].items())
    print(f"\n{case:44}  median     best    wall  processor  (x dense)")
    for row in rows:
        name = f"{row['what'].replace(' and ', '+')}: {row['layer']}"
        print(
            f"{name:44}{row['median_ms']:8.1f}{row['best_ms']:9.1f}"
            f"{row['wall_ratio']:8.2f}{row['processor_ratio']:11.2f}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--threads_per_operation",
        type=int,
        default=0,
        help="as of trainers.nmt, which has 1; 0 for as many as cores",
    )
    parser.add_argument("--json", help="file for all figures")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(
        options.threads_per_operation
    )
    rows = []
    for case in CASES:
        rows.append(run_case(case, options.rounds))
        print_rows(rows[-1])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(sum(rows, []), file, indent=1)


if __name__ == "__main__":
    main()
