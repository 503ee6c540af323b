"""Times `ProjectedLSTM` and `AttentiveLSTM`, forward and backward.

    python benchmarks/lstm.py --rounds=20 --json=lstm.json

Every contender runs once in each round, in an order that alternates, because
the speed of a shared machine drifts. A ratio is the median of the rounds'
ratios to the first contender of its table, in wall time and in processor time
(of all threads, which other work on the machine disturbs less). The LSTMs are
compared with `keras.layers.LSTM`, the attentive one with the same steps in a
loop that TensorFlow differentiates by itself. "static" knows batch and time
when it is traced, "dynamic" does not.
"""

import argparse
import json
import statistics
import time

import keras
import tensorflow as tf

from moe_keras.recurrent.projected_lstm import ProjectedLSTM
from translation.model.attention import ProductAttention
from translation.model.attentive_lstm import AttentiveLSTM

LINE = (
    "{subject:10}{size:12}{shapes:9}{contender:19}{milliseconds:8.1f} ms"
    "{wall_ratio:7.2f} wall{processor_ratio:7.2f} processor"
)
SIZES = ("64x24x512", "128x16x256", "64x16x256", "32x50x128")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--sizes", nargs="*", default=SIZES, help="batch x time x units"
    )
    parser.add_argument(
        "--subjects", nargs="*", choices=SUBJECTS, default=list(SUBJECTS)
    )
    parser.add_argument("--json", help="also write the results to this file")
    return parser.parse_args()


def lstm_contenders(batch, length, units):
    """Keras' LSTM and ours, without a mask."""
    del batch, length
    contenders = {
        "keras.layers.LSTM": keras.layers.LSTM(units, return_sequences=True),
        "plain loop": ProjectedLSTM(
            units, return_sequences=True, compiled=False
        ),
        "ProjectedLSTM": ProjectedLSTM(units, return_sequences=True),
    }
    return {name: (layer, layer) for name, layer in contenders.items()}


def masked_contenders(batch, length, units):
    """The same on sentences of uneven length, half of the steps on average."""
    lengths = tf.linspace(1.0, float(length), batch)
    mask = tf.sequence_mask(tf.cast(lengths, tf.int32), length)

    def with_mask(layer):
        return layer, lambda x: layer(x, mask=mask)

    return {
        name: with_mask(layer)
        for name, (layer, _) in lstm_contenders(batch, length, units).items()
    }


def attentive_contenders(batch, length, units):
    """Decoder LSTM that attends to a source as long as the target."""
    values = tf.random.normal((batch, length, units))

    def layer_and_call(compiled, call):
        layer = AttentiveLSTM(
            units, None, ProductAttention(units), compiled=compiled
        )
        return layer, lambda x: call(layer, x, layer.attention.prepare(values))

    def fast(layer, x, memory):
        return tf.concat(layer(x, memory), axis=-1)

    return {
        "automatic": layer_and_call(False, automatic),
        "plain loop": layer_and_call(False, fast),
        "AttentiveLSTM": layer_and_call("auto", fast),
    }


def automatic(layer, x, memory):
    """`AttentiveLSTM` as a loop of steps, left to TensorFlow's gradients."""
    layer(x[:, :1], memory)  # builds it
    time_steps = tf.shape(x)[1]
    state = layer.initial_state(memory)
    results = tf.TensorArray(tf.float32, time_steps)

    def body(step, state, results):
        output, context, _, state = layer.step(x[:, step], state, memory)
        results = results.write(step, tf.concat([output, context], axis=-1))
        return step + 1, state, results

    loop = tf.while_loop(
        lambda step, *_: step < time_steps,
        body,
        (0, state, results),
        maximum_iterations=time_steps,
    )
    return tf.transpose(loop[-1].stack(), (1, 0, 2))


SUBJECTS = {
    "lstm": lstm_contenders,
    "masked": masked_contenders,
    "attentive": attentive_contenders,
}


def gradient_step(layer, call, spec):
    """A graph that runs `call(x)`, forward and backward."""

    @tf.function(input_signature=[spec], autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(call(x)))
        variables = [weight.value for weight in layer.trainable_weights]
        return tape.gradient(loss, [x, *variables])

    return step


def measure(contenders, x, static, rounds):
    """`{name: [(wall seconds, processor seconds) of each round]}`."""
    spec = tf.TensorSpec([None, None, x.shape[-1]])
    if static:
        spec = tf.TensorSpec(x.shape)
    steps = {}
    for name, (layer, call) in contenders.items():
        call(x)  # builds the layer
        steps[name] = gradient_step(layer, call, spec)
        steps[name](x)
    seconds = {name: [] for name in steps}
    for number in range(rounds):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            begin = time.perf_counter(), time.process_time()
            steps[name](x)[0].numpy()
            end = time.perf_counter(), time.process_time()
            seconds[name].append(
                [b - a for a, b in zip(begin, end, strict=True)]
            )
    return seconds


def summary(seconds):
    """Yields a record for each contender."""
    reference = next(iter(seconds.values()))
    for name, own in seconds.items():
        wall, processor = (
            statistics.median(
                x[kind] / y[kind] for x, y in zip(own, reference, strict=True)
            )
            for kind in (0, 1)
        )
        yield {
            "contender": name,
            "milliseconds": 1000 * statistics.median(x[0] for x in own),
            "wall_ratio": wall,
            "processor_ratio": processor,
        }


def main():
    arguments = parse_arguments()
    records = []
    for subject in arguments.subjects:
        for size in arguments.sizes:
            batch, length, units = map(int, size.split("x"))
            x = tf.random.normal((batch, length, units))
            for kind in ("dynamic", "static"):
                contenders = SUBJECTS[subject](batch, length, units)
                seconds = measure(
                    contenders, x, kind == "static", arguments.rounds
                )
                for record in summary(seconds):
                    record |= {"subject": subject, "size": size, "shapes": kind}
                    records.append(record)
                    print(LINE.format(**record), flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(records, file, indent=2)


if __name__ == "__main__":
    main()
