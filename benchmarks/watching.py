"""What watching the routing costs: a training step watched and unwatched.

    python benchmarks/watching.py [--preset=phrasebook] [--rounds=20]

The same translator twice, on the same batch: once with a `RoutingRecorder`, as
`trainers.engine.loop` has it, and once without. Rounds of a few steps take
turns. What it costs to close a window is timed on its own and spread over the
steps of a window. Read the processor time: other work on the machine disturbs
it less.
"""

import argparse
import functools
import itertools
import json
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402  after the log level
from interleaved import interleaved_times, median_ratio  # noqa: E402

from moe_keras.monitoring import RoutingRecorder  # noqa: E402
from trainers.engine.optimizer import FusedAdam  # noqa: E402
from trainers.engine.summaries import Summaries  # noqa: E402
from trainers.engine.train_step import TrainStep  # noqa: E402
from trainers.translator.folder import build_model  # noqa: E402
from trainers.translator.presets import preset  # noqa: E402
from trainers.translator.task import training_loss  # noqa: E402


def make_step(config, folder=None):
    """The training step of a fresh model, and its recorder.

    Args:
        config: `trainers.translator.presets.NmtConfig`.
        folder: Folder of the windows; without one nothing is watched.
    """
    model = build_model(config)
    optimizer = FusedAdam(
        config.loop.learning_rate, beta_2=config.loop.adam_beta_2
    )
    optimizer.build(model.trainable_variables)
    recorder = RoutingRecorder(model, folder) if folder else None
    step = TrainStep(
        model,
        functools.partial(training_loss, smoothing=config.label_smoothing),
        optimizer,
        config.loop.clip_norm,
        watch=recorder and recorder.add_gradients,
    )
    return step, recorder


def make_batch(config, sentences, length):
    """Sentences of uneven length, as ids."""
    size = config.model.vocab_size
    ids = tf.random.uniform((sentences, length), 3, size, tf.int32, seed=1)
    lengths = tf.linspace(length / 2, float(length), sentences)
    ids *= tf.sequence_mask(tf.cast(lengths, tf.int32), length, tf.int32)
    return {"source": ids, "target_in": ids, "target_out": ids}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="phrasebook")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2, help="of a round")
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--length", type=int, default=16)
    parser.add_argument("--json", help="file for all figures")
    options = parser.parse_args()
    config = preset(options.preset)
    batch = make_batch(config, options.sentences, options.length)
    with tempfile.TemporaryDirectory() as folder:
        unwatched_step, _ = make_step(config)
        watched_step, recorder = make_step(config, folder)
        batches = itertools.repeat(batch)

        def steps_of(step):
            def run():
                for _ in range(options.steps):
                    step(batches)

            return run

        times = interleaved_times(
            {
                "unwatched": steps_of(unwatched_step),
                "watched": steps_of(watched_step),
            },
            options.rounds,
        )
        closing = time_closing(
            functools.partial(watched_step, batches),
            recorder,
            Summaries(folder),
            options.rounds,
        )
    watched, unwatched = times["watched"], times["unwatched"]
    step = statistics.median(unwatched.processor) / options.steps
    result = {
        "step_processor_ms": 1000 * step,
        "wall_ratio": median_ratio(watched.wall, unwatched.wall),
        "processor_ratio": median_ratio(watched.processor, unwatched.processor),
        "closing_processor_ms": 1000 * closing,
        "closing_share": closing / (config.loop.log_every * step),
    }
    for name, value in result.items():
        print(f"{name:22}{value:10.4f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)


def time_closing(step, recorder, summaries, rounds):
    """Mean processor seconds to close a window and write it."""
    seconds = []
    for number in range(1, rounds + 2):
        step()
        begin = time.process_time()
        windows = recorder.close(number)
        summaries.write_training(number, {}, 1e-3, 1.0, windows)
        seconds.append(time.process_time() - begin)
    return statistics.mean(seconds[1:])  # the first makes graphs


if __name__ == "__main__":
    main()
