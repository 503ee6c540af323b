"""Times a training step of a language model in each precision.

    python benchmarks/precisions.py --set depth=512 --set lstm_units=512 \\
        --set rows=64 [--rounds=10] [--threads=1] [--precisions float32 ...]

The steps take turns, one of each in a round. Ratios are medians over rounds of
the time in the first precision over that in another: above 1 is faster. Batches
are random ids; weights begin alike, so that the losses, after the same steps,
show what a precision does to the numbers.
"""

import argparse
import functools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from interleaved import interleaved_times, median_ratio  # noqa: E402

from trainers.engine.config.presets import preset_named  # noqa: E402
from trainers.engine.optimizer import OPTIMIZERS  # noqa: E402
from trainers.engine.train_step import TrainStep  # noqa: E402
from trainers.language_model.folder import build_language_model  # noqa: E402
from trainers.language_model.presets import PRECISIONS, PRESETS  # noqa: E402
from trainers.language_model.task import training_loss  # noqa: E402


class Training:
    """A model in one precision, and its steps on the same batch.

    Args:
        config: `LmConfig`.
        precision: str. One of `PRECISIONS`.
        batch: dict as of `running_batches`.
        sampled: `SampledSoftmax`, or None for the full softmax.
    """

    def __init__(self, config, precision, batch, sampled=None):
        keras.utils.set_random_seed(1)
        model = build_language_model(config.model, precision)
        optimizer = OPTIMIZERS[config.loop.optimizer](1e-3)
        optimizer.build(model.trainable_variables)
        self._step = TrainStep(
            model,
            functools.partial(training_loss, sampled=sampled),
            optimizer,
            config.loop.clip_norm,
            static_shapes=True,
        )
        self._batch = batch
        self.loss = None

    def step(self):
        """Takes a step, and returns when it is done."""
        result, _ = self._step(iter([self._batch]))
        self.loss = result.loss


def random_batch(config):
    """Ids at random, `(B, T)`, as a batch of running text."""
    options = config.batches
    shape = [options.rows, options.time_steps + 1]
    ids = tf.random.stateless_uniform(
        shape, (1, 2), 4, config.model.vocab_size, tf.int32
    )
    return {"ids": ids[:, :-1], "targets": ids[:, 1:], "begins": True}


def main():
    """Prints a line for each precision."""
    options = _arguments()
    for set_threads in (
        tf.config.threading.set_intra_op_parallelism_threads,
        tf.config.threading.set_inter_op_parallelism_threads,
    ):
        set_threads(options.threads)
    config = preset_named(PRESETS, options.preset, options.set)
    batch = random_batch(config)
    runs = {x: Training(config, x, batch) for x in options.precisions}
    times = interleaved_times(
        {name: run.step for name, run in runs.items()}, options.rounds
    )
    first = times[options.precisions[0]]
    for name, own in times.items():
        wall, processor = (
            median_ratio(getattr(first, kind), getattr(own, kind))
            for kind in ("wall", "processor")
        )
        print(
            f"{name:18}{1000 * min(own.wall):8.1f} ms at best"
            f"{wall:7.2f} x wall{processor:7.2f} x processor"
            f"   loss {runs[name].loss:.4f}"
        )


def _arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default="small_moe_1_wide")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS[:2]
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
