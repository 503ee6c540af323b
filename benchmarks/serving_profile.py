"""Where a served translator spends its time.

    python benchmarks/serving_profile.py runs/mine/export --texts=data/test.en

Lets TensorFlow's profiler watch one request of each size and adds up the
times of all operations by the part of the model that they belong to. Needs
tensorflow and tensorflow_text, nothing of this project.
"""

import argparse
import collections
import pathlib
import tempfile
import time

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the operations of the subwords
from serving import newest_version, read_texts
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# The first that an operation's name holds; the rest is the beam search.
PARTS = {
    "encoder_moe": "encoder, MoE",
    "encoder_": "encoder, LSTMs",
    "_logits": "decoder, softmax layer",
    "decoder_moe": "decoder, MoE",
    "decoder_lstm_1": "decoder, LSTM with attention",
    "decoder_lstm": "decoder, other LSTMs",
    "readout": "decoder, other LSTMs",
    "/cond/": "rows moved when sentences are done",
    "Sentencepiece": "subwords",
}
REST = "beam search"


def profile(translate, batch):
    """Times of the operations of one request.

    Args:
        translate: The function of `serving_default`.
        batch: `(B,)` string tensor.

    Returns:
        Seconds that the request took, and a `Counter` of seconds in
        operations by part. Threads overlap, so they need not add up.
    """
    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=3, python_tracer_level=0
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, options)
        start = time.perf_counter()
        translate(inputs=batch)["outputs"].numpy()
        seconds = time.perf_counter() - start
        tf.profiler.experimental.stop()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    return seconds, _by_part(space)


def _by_part(space):
    parts = collections.Counter()
    for plane in space.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                part = _part(names[event.metadata_id])
                if part:
                    parts[part] += event.duration_ps / 1e12
    return parts


def _part(name):
    """The part that an operation `path/name:Type` belongs to, or None."""
    if "/" not in name or ":" not in name or "::" in name:
        return None  # not an operation but what runs it
    for pattern, part in PARTS.items():
        if pattern in name:
            return part
    return REST


def main():
    """Runs the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("path", help="a version, or the folder of versions")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 64])
    parser.add_argument("--texts", help="ordinary sentences, one a line")
    flags = parser.parse_args()
    loaded = tf.saved_model.load(str(newest_version(flags.path)))
    translate = loaded.signatures["serving_default"]
    texts = read_texts(flags.texts)
    for size in flags.sizes:
        batch = tf.constant((texts * size)[:size])
        for _ in range(3):
            translate(inputs=batch)
        seconds, parts = profile(translate, batch)
        total = parts.total()
        print(f"\n{size} sentences, {1000 * seconds:.0f} ms\n")
        print("| part | ms in operations | share |")
        print("| --- | ---: | ---: |")
        for part, spent in parts.most_common():
            print(f"| {part} | {1000 * spent:.1f} | {spent / total:.0%} |")


if __name__ == "__main__":
    main()
