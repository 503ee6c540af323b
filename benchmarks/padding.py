"""What is padding in the batches of training.

    python benchmarks/padding.py --train=PREFIX --pair=en-de \\
        --tokenizer=runs/mine/tokenizer.model

Shares of ids that are not padding, of source, target and both, over the first
batches of a corpus, and the number of shapes: with batches of any shape, and
with static ones, which XLA compiles (`static_shapes`).
"""

import itertools
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402  after the log level
from absl import app, flags  # noqa: E402

from translation.text.corpora.corpus import open_corpus  # noqa: E402
from translation.text.input_pipeline import (  # noqa: E402
    PipelineOptions,
    training_batches,
)
from translation.text.tokenizer.tokenizer import Tokenizer  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("train", "phrasebook", "Training corpus.")
flags.DEFINE_string("pair", "en-de", "Languages.")
flags.DEFINE_string("tokenizer", None, "SentencePiece model.", required=True)
flags.DEFINE_integer("batches", 600, "To count.", lower_bound=1)
flags.DEFINE_integer("tokens_per_batch", 1024, "As in training.", 1)


def count(batches):
    """Filled and all places of source and target `(2, 2)`, and the shapes."""
    places, shapes = np.zeros((2, 2), np.int64), set()
    for batch in batches:
        ids = [batch[side].numpy() for side in ("source", "target_out")]
        places += [[np.count_nonzero(x), x.size] for x in ids]
        shapes.add(tuple(x.shape for x in ids))
    return places, len(shapes)


def main(_):
    corpus = open_corpus(FLAGS.train, FLAGS.pair, "train")
    tokenizer = Tokenizer(pathlib.Path(FLAGS.tokenizer).read_bytes())
    head = ("steps of", "source", "target", "both", "number")
    print("shapes  " + "".join(f"{name:>10}" for name in head))
    for static_shapes, multiple in itertools.product((True, False), (4, 2)):
        options = PipelineOptions(
            tokens_per_batch=FLAGS.tokens_per_batch,
            length_multiple=multiple,
            static_shapes=static_shapes,
        )
        batches = training_batches(corpus, tokenizer, options)
        places, shapes = count(batches.take(FLAGS.batches))
        filled = [*places, places.sum(0)]
        print(
            f"{'static' if static_shapes else 'any':8}{multiple:10}"
            + "".join(f"{share[0] / share[1]:10.3f}" for share in filled)
            + f"{shapes:10}"
        )


if __name__ == "__main__":
    app.run(main)
