"""Bytes, perplexity and speed of a language model in few bits.

python -m trainers.lm --model_dir=runs/lm
python benchmarks/quantization.py --model_dir=runs/lm --json=quantization.json

Experts alone, and then all layers but the routers. Each way of rounding starts
from the trained model. Perplexities are of the
test set of the run; times are taken in turns with the model as it was trained.
"""

import argparse
import json
import pathlib

import numpy as np
import tensorflow as tf
from interleaved import interleaved_times, median_ratio

from language_model.corpora import open_lines
from moe_keras.quantization import WeightQuantization, quantize, sizes_of
from trainers.language_model.evaluation import LineLikelihoods
from trainers.language_model.folder import LmFolder
from translation.text.special_ids import BOS_ID

INT8, INT4 = WeightQuantization(8), WeightQuantization(4, 128)
FOUR, THREE, TWO = (WeightQuantization(bits, 32) for bits in (4, 3, 2))

# What experts are rounded to, all other layers, and whether by GPTQ.
WAYS = {
    "int8": (INT8, None, False),
    "int4, groups of 128": (INT4, None, False),
    "int4, groups of 32": (FOUR, None, False),
    "3 bits, groups of 32": (THREE, None, False),
    "3 bits, groups of 32, GPTQ": (THREE, None, True),
    "2 bits, groups of 32": (TWO, None, False),
    "2 bits, groups of 32, GPTQ": (TWO, None, True),
    "int8, the rest too": (INT8, INT8, False),
    "int4, groups of 128, the rest too": (INT4, INT4, False),
    "int4, groups of 32, the rest too": (FOUR, FOUR, False),
    "int4, groups of 128, the rest int8": (INT4, INT8, False),
    "3 bits, groups of 32, GPTQ, the rest int8": (THREE, INT8, True),
    "2 bits, groups of 32, GPTQ, the rest int8": (TWO, INT8, True),
}


class Measured:
    """A model of a run's folder, perhaps quantized, and what it is measured by.

    Args:
        folder: `LmFolder`.
        config: `LmConfig` of the run.
        way: `WeightQuantization` of the experts, or None.
        others: `WeightQuantization` of all other layers, or None.
        calibration_lines: List of str, or None to round to the nearest.
    """

    def __init__(
        self, folder, config, way=None, others=None, calibration_lines=None
    ):
        self.model, self.vocabulary = folder.load_model(config)
        self.options = config.batches
        if way is not None:
            calibration = None
            if calibration_lines is not None:
                calibration = self._batches(calibration_lines)
            quantize(self.model, way, others, calibration)
        self.sizes = sizes_of(self.model)
        self._likelihoods = LineLikelihoods(
            self.model, self.vocabulary, self.options
        )

    def _batches(self, lines):
        ids = np.concatenate(
            [[BOS_ID, *row] for row in self.vocabulary.encode(lines)]
        )
        steps = self.options.time_steps
        rows = ids[: len(ids) // steps * steps].reshape(-1, steps)
        return [
            tf.constant(part, tf.int32)
            for part in np.array_split(rows, max(1, len(rows) // 64))
        ]

    def perplexity(self, lines):
        """Perplexity for each subword, the end of a line counted."""
        nll = np.concatenate(self._likelihoods(lines))
        return float(np.exp(nll.mean()))

    def reads(self, lines):
        """A function that reads lines, to be timed."""
        return lambda: self._likelihoods(lines)


def measure(folder, lines, rounds, calibration_tokens):
    """Measure the model of a folder and each way of rounding its experts.

    Args:
        folder: `LmFolder`.
        lines: dict of lists of str, "train" and "test".
        rounds: int. Rounds of timing.
        calibration_tokens: int. About so many tokens calibrate.

    Returns:
        List of dicts, the model as it was trained first.
    """
    config = folder.load_config()
    whole = Measured(folder, config)
    perplexity = whole.perplexity(lines["test"])
    rows = [_row("as trained", whole, perplexity, whole, perplexity, 1.0)]
    texts = lines["train"][: calibration_tokens // 10]
    for name, (way, others, is_calibrated) in WAYS.items():
        few = Measured(
            folder, config, way, others, texts if is_calibrated else None
        )
        found = few.perplexity(lines["test"])
        times = interleaved_times(
            {
                "whole": whole.reads(lines["test"]),
                "few": few.reads(lines["test"]),
            },
            rounds=rounds,
            warmup=1,
        )
        ratio = median_ratio(times["whole"].processor, times["few"].processor)
        rows.append(_row(name, few, found, whole, perplexity, ratio))
        print(_as_text(rows[-1]), flush=True)
    return rows


def _row(name, few, found, whole, perplexity, ratio):
    return {
        "experts": name,
        "expert_bytes": few.sizes.experts,
        "share_of_expert_bytes": few.sizes.experts / whole.sizes.experts,
        "bytes": few.sizes.total,
        "share_of_bytes": few.sizes.total / whole.sizes.total,
        "perplexity": found,
        "perplexity_ratio": found / perplexity,
        "tokens_per_second_ratio": ratio,
    }


def _as_text(row):
    cells = [
        row["experts"],
        f"{row['expert_bytes'] / 1e6:.2f} MB",
        f"{row['share_of_expert_bytes']:.3f}",
        f"{row['share_of_bytes']:.3f}",
        f"{row['perplexity']:.4f}",
        f"{100 * (row['perplexity_ratio'] - 1):+.2f} %",
        f"{row['tokens_per_second_ratio']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calibration_tokens", type=int, default=20_000)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    folder = LmFolder(options.model_dir)
    config = folder.load_config()
    lines = {
        split: list(open_lines(getattr(config, split), split).read())
        for split in ("train", "test")
    }
    rows = measure(folder, lines, options.rounds, options.calibration_tokens)
    print("\n".join(map(_as_text, rows)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
