"""What watching the routing costs: a training step watched and unwatched.

    python benchmarks/watching.py [--preset=phrasebook] [--rounds=20]

The same translator twice, on the same batch, once as `trainers.loop` trains it
and once without its `RoutingRecorder`; rounds of a few steps take turns. What
it costs to close a window is timed on its own and spread over the steps of a
window. Read the processor time: other work on the machine disturbs it less.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402  after the log level
from interleaved import interleaved_times, median_ratio  # noqa: E402

from trainers.loop import Loop  # noqa: E402
from trainers.model_folder import build_model  # noqa: E402
from trainers.presets import preset  # noqa: E402
from trainers.translation_task import training_loss  # noqa: E402


class Unwatched(Loop):
    """The loop as it would be without watching."""

    def __init__(self, model, *args, **kwargs):
        super().__init__(model, *args, **kwargs)
        for layer in self.routing.layers_by_name.values():
            layer.watch = None
        self.routing.add_gradients = lambda gradients, variables: None


def make_loop(kind, config, folder):
    model = build_model(config)
    loss = functools.partial(training_loss, smoothing=config.label_smoothing)
    return kind(model, loss, config.loop, folder, log=lambda line: None)


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
        loops = {
            "unwatched": make_loop(Unwatched, config, f"{folder}/unwatched"),
            "watched": make_loop(Loop, config, f"{folder}/watched"),
        }

        def steps_of(loop):
            def run():
                for _ in range(options.steps):
                    loss, *_ = loop._train_step(batch)
                    loss.numpy()

            return run

        times = interleaved_times(
            {name: steps_of(loop) for name, loop in loops.items()},
            options.rounds,
        )
        closing = time_closing(loops["watched"], batch, options.rounds)
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


def time_closing(loop, batch, rounds):
    """Mean processor seconds to close a window and write it."""
    seconds = []
    for step in range(1, rounds + 2):
        loop._train_step(batch)[0].numpy()
        begin = time.process_time()
        windows = loop.routing.close(step)
        loop.summaries.write_training(step, {}, 1e-3, 1.0, windows)
        seconds.append(time.process_time() - begin)
    return statistics.mean(seconds[1:])  # the first makes graphs


if __name__ == "__main__":
    main()
