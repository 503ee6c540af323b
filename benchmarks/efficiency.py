"""How much of a dense model's speed a mixture of experts keeps.

    TF_ENABLE_ONEDNN_OPTS=1 python benchmarks/efficiency.py \\
        [--mixtures moe_256 moe_1024_h moe_4096_h] [--dense=moe_1_wide] \\
        [--budget=small] [--tokens=300000] [--rounds=3] [--threads=0]

The steps of all models take turns, on the same batch of random ids, with a
sampled softmax of the presets' `sampled_candidates`. Efficiency is the ops a
second of a mixture over those of the dense model, those of the softmax
included: the median over rounds, of wall time and of processor time. Beside it
stands the paper's, TFLOPS a GPU over those of MoE-1-Wide (table 7). Its batches
had 300,000 tokens, and an expert `k * tokens / E` of them.
"""

import argparse
import dataclasses
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402
from interleaved import interleaved_times, median_ratio  # noqa: E402
from precisions import Training, random_batch  # noqa: E402

from language_model.sizes import count_sizes  # noqa: E402
from language_model.softmax import SampledSoftmax  # noqa: E402
from trainers.language_model.presets import PRESETS  # noqa: E402

_WIDE = 1.29  # TFLOPS a GPU of MoE-1-Wide
PAPER = {
    "moe_4": 0.52 / _WIDE,
    "moe_32": 0.87 / _WIDE,
    "moe_256": 0.81 / _WIDE,
    "moe_256_h": 0.89 / _WIDE,
    "moe_1024_h": 0.90 / _WIDE,
    "moe_4096_h": 0.74 / _WIDE,
}
_STEPS = 32  # places of a row


def measure(options):
    """Efficiencies by name of the mixture: of wall and of processor time."""
    names = [options.dense, *options.mixtures]
    configs = {name: _config(options, name) for name in names}
    batch = random_batch(configs[options.dense])
    runs = {}
    for name, config in configs.items():
        sampled = SampledSoftmax(
            config.sampled_candidates,
            vocab_size=config.model.vocab_size,
            seed=1,
        )
        runs[name] = Training(config, "float32", batch, sampled)
    times = interleaved_times(
        {name: run.step for name, run in runs.items()}, options.rounds, 1
    )
    ops = {name: _ops(config) for name, config in configs.items()}
    dense = times[options.dense]
    return {
        name: [
            ops[name] / ops[options.dense] * median_ratio(theirs, ours)
            for theirs, ours in zip(dense, times[name], strict=True)
        ]
        for name in options.mixtures
    }


def _ops(config):
    """Multiply-adds for a token, forward, with the candidates of a softmax."""
    candidates = config.sampled_candidates * config.model.depth
    return count_sizes(config.model).ops + candidates


def _config(options, name):
    config = PRESETS[f"{options.budget}_{name}"]
    batches = dataclasses.replace(
        config.batches, rows=max(1, options.tokens // _STEPS), time_steps=_STEPS
    )
    return dataclasses.replace(config, batches=batches)


def main(arguments=None):
    """Prints a line of a table for each mixture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--mixtures",
        nargs="+",
        choices=PAPER,
        default=["moe_256", "moe_1024_h", "moe_4096_h"],
    )
    parser.add_argument("--dense", default="moe_1_wide")
    parser.add_argument("--budget", default="small")
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--threads", type=int, default=0, help="of an operation; 0: all cores"
    )
    options = parser.parse_args(arguments)
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    print("| mixture | wall | processor | paper | tokens of an expert |")
    print("| --- | --- | --- | --- | --- |")
    for name, (wall, processor) in measure(options).items():
        model = PRESETS[f"{options.budget}_{name}"].model
        tokens = options.tokens * model.experts_per_token / model.num_experts
        print(
            f"| {name} | {wall:.2f} | {processor:.2f} | {PAPER[name]:.2f} | "
            f"{tokens:,.0f} |"
        )


if __name__ == "__main__":
    main()
