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

N: tokens    D: depth    K: experts per token    R: devices
"""

import argparse
import collections
import json
import math
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402  after the log level
from crossing import trace  # noqa: E402
from interleaved import interleaved_times, median_ratio  # noqa: E402
from layout_cases import DEVICES, ONE, SIZES, cases  # noqa: E402

from moe_keras import plan  # noqa: E402
from moe_keras.parallel.mesh.processor import divide_processor  # noqa: E402
from moe_keras.plan.model import LayerCost, Model  # noqa: E402


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
    model = Model("", LayerCost(), (layer,), sizes["N"])
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
    lines = [f"{'layout':37}" + "".join(f"{name:>14}" for name in head)]
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
            f"{row['layout']:37}" + "".join(f"{cell:>14}" for cell in cells)
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
