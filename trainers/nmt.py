"""Trains, evaluates, uses and exports the translator.

The main job, on the corpus that comes with the package:

  python -m trainers.nmt

On your own parallel text, PREFIX.en and PREFIX.de, line by line (or .gz):

  python -m trainers.nmt --preset=multi30k --pair=en-de \\
    --train=data/train --dev=data/val --test=data/test --model_dir=runs/mine

Run the same command again and it resumes, at the very sentence where it was
stopped or killed. Ctrl-C and SIGTERM save and end it (exit codes 130 and 143;
errors have 1). Then:

  python -m trainers.nmt --model_dir=runs/mine --mode=evaluate
  echo 'Hello!' | python -m trainers.nmt --model_dir=runs/mine --mode=translate
  python -m trainers.nmt --model_dir=runs/mine --mode=translate in.txt
  python -m trainers.nmt --model_dir=runs/mine --mode=score pairs.tsv
  python -m trainers.nmt --model_dir=runs/mine --mode=export
  python -m trainers.nmt --model_dir=runs/mine --mode=average --average_of=last
  python -m trainers.nmt --model_dir=runs/mine --mode=experts

On several devices, or with a worker on each of several hosts:

  python -m trainers.nmt --strategy=mirrored --devices=GPU:0,GPU:1
  python -m trainers.nmt --strategy=multi_worker \\
    --cluster=10.0.0.1:2222,10.0.0.2:2222 --index=0

Any field of the configuration that is printed at the start can be changed:

  python -m trainers.nmt --set num_experts=32 --set dropout=0.2
  python -m trainers.nmt --set gate=top_k \\
    --set gate_options=balance_loss_weight=0.02,jitter=0.01
"""

import functools
import sys

import tensorflow as tf
from absl import app, flags, logging

from moe_keras.parallel.processes.cluster import (
    cluster_of,
    cluster_of_environment,
)
from moe_keras.parallel.processes.strategies import STRATEGIES, start_workers
from trainers.engine.exit_codes import exit_codes
from trainers.engine.overrides import with_overrides
from trainers.translator import task as translation_task
from trainers.translator.expert_study import study_experts
from trainers.translator.folder import ModelFolder
from trainers.translator.presets import PRESETS, preset
from trainers.translator.serving import PRECISIONS
from trainers.translator.text_modes import (
    ALIGNMENTS,
    LineTranslator,
    PairScorer,
    line_groups,
    pair_groups,
)
from trainers.usage import TRAINING, check_usage
from translation.search.ensemble import MEANS

_MODE = flags.DEFINE_enum(
    "mode",
    "train_and_evaluate",
    [
        "train_and_evaluate",
        "evaluate",
        "translate",
        "score",
        "export",
        "average",
        "experts",
    ],
    "What to do. translate reads the files named, or standard input, a "
    "sentence a line, and writes a line for each. score reads corpora named, "
    "or standard input, source and translation with a tab between, and writes "
    "log probability, score, subwords and their log probabilities, with tabs "
    "between. average writes the mean of checkpoints to MODEL_DIR/averaged, a "
    "folder for the other modes. experts shows what the experts do with the "
    "test corpus.",
)
_PRESET = flags.DEFINE_string(
    "preset",
    "phrasebook",
    f"Named configuration to start from: {', '.join(PRESETS)}.",
)
_PAIR = flags.DEFINE_string(
    "pair", None, "Source and target language, as en-fr or en-de."
)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir",
    None,
    "Folder of checkpoints, logs and SavedModel [runs/PRESET-PAIR].",
)
_TRAIN = flags.DEFINE_string(
    "train",
    None,
    "Corpora to train on, joined by commas: PREFIX of two files, FILE.tsv, "
    "tfds:NAME/CONFIG or phrasebook; with @WEIGHT after each they are mixed.",
)
_DEV = flags.DEFINE_string(
    "dev", None, "Corpus that chooses the best checkpoint."
)
_TEST = flags.DEFINE_string("test", None, "Corpus that is reported.")
_AVERAGE_OF = flags.DEFINE_string(
    "average_of",
    "best",
    "Checkpoints to average: best or last, or so many of them, as last:5.",
)
_N_BEST = flags.DEFINE_integer(
    "n_best",
    0,
    "Translations of each line, written as LINE ||| TRANSLATION ||| SCORE; 0 "
    "for the best one alone.",
    lower_bound=0,
)
_ALIGNMENTS = flags.DEFINE_enum(
    "alignments",
    "none",
    ALIGNMENTS,
    "What --mode=translate adds after |||: links of words as 0-0 1-2, source "
    "first (hard), or the attention between all subwords, as JSON (soft).",
)
_ENSEMBLE = flags.DEFINE_list(
    "ensemble",
    [],
    "Models that translate, score or are exported as one: model folders with "
    "commas between, or best:N or last:N, checkpoints of --model_dir. The "
    "vocabulary, the search and the folder of the export are --model_dir's.",
)
_ENSEMBLE_MEAN = flags.DEFINE_enum(
    "ensemble_mean", MEANS[0], MEANS, "What an ensemble averages."
)
_LABELS = flags.DEFINE_string(
    "labels", None, "File for --mode=experts: a label a line, each a sentence."
)
_EXPORT_PRECISION = flags.DEFINE_enum(
    "export_precision",
    "float32",
    PRECISIONS,
    "Of weights and products in the SavedModel.",
)
_SET = flags.DEFINE_multi_string(
    "set",
    [],
    "Change a field of the configuration: FIELD=VALUE. Repeatable. "
    "gate_options=NAME=VALUE,NAME=VALUE has further arguments of the gate.",
)

_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "none",
    list(STRATEGIES),
    "tf.distribute: mirrored shares each batch out to devices, multi_worker "
    "to processes on several hosts.",
)
_DEVICES = flags.DEFINE_string(
    "devices",
    None,
    "Devices for mirrored or a mesh: how many, or their names, as GPU:0,GPU:1. "
    "Without a GPU a number divides the processor, to try things out [all "
    "GPUs, or as many as the mesh has places].",
)
_CLUSTER = flags.DEFINE_string(
    "cluster",
    None,
    "Addresses of all workers, HOST:PORT,HOST:PORT, the same everywhere; the "
    "first is the chief [from TF_CONFIG]. With a mesh the first is this "
    "program, and the others lend their devices: moe_keras.parallel.worker.",
)
_INDEX = flags.DEFINE_integer(
    "index", None, "Which of the addresses is this worker's own, from 0."
)

_LAYOUT = flags.DEFINE_string(
    "layout",
    None,
    "experts:replica gives each replica a part of the experts [all of them]. "
    "With a mesh: what is split over which of its dimensions, batch, experts "
    "and hidden, as batch:data;experts:model.",
)
_MESH_SHAPE = flags.DEFINE_string(
    "mesh_shape",
    None,
    "Mesh of devices that share the experts, as data:2;model:2; see --layout.",
)

_THREADS = flags.DEFINE_integer(
    "threads_per_operation",
    1,
    "Threads that share one operation on the processor; 0 for as many as it "
    "has cores. With few cores and small models they are better left to "
    "operations that can run side by side.",
    lower_bound=0,
)

_say = functools.partial(print, flush=True)


def _config():
    given = {
        "pair": _PAIR.value,
        "train": _TRAIN.value,
        "dev": _DEV.value,
        "test": _TEST.value,
    }
    overrides = [f"{name}={text}" for name, text in given.items() if text]
    return with_overrides(preset(_PRESET.value), overrides + _SET.value)


def _start_workers(about):
    cluster = None
    if _CLUSTER.value:
        index = _INDEX.value
        if index is None and _MESH_SHAPE.value:
            index = 0  # the others run no program
        cluster = cluster_of(_CLUSTER.value, index)
    elif _STRATEGY.value == "multi_worker":
        cluster = cluster_of_environment()
    return start_workers(
        _STRATEGY.value,
        _DEVICES.value,
        cluster,
        _LAYOUT.value,
        about,
        _MESH_SHAPE.value,
    )


def _translate(model_dir, paths):
    groups = line_groups(paths, sys.stdin.buffer)  # what is missing comes first
    translate = LineTranslator(
        model_dir,
        _SET.value,
        _ENSEMBLE.value,
        _ENSEMBLE_MEAN.value,
        _N_BEST.value,
        _ALIGNMENTS.value,
    )
    _filter(translate, groups)


def _score(model_dir, paths):
    pair = ModelFolder(model_dir).load_config().pair
    groups = pair_groups(paths, pair, sys.stdin.buffer)
    score = PairScorer(
        model_dir, _SET.value, _ENSEMBLE.value, _ENSEMBLE_MEAN.value
    )
    _filter(score, groups)


def _filter(function, groups):
    """Writes what comes out for each group before it reads on."""
    for group in groups:
        lines = "".join(f"{line}\n" for line in function(group))
        sys.stdout.buffer.write(lines.encode())
        sys.stdout.buffer.flush()


def _run(paths):
    mode = _MODE.value
    check_usage(mode, paths)
    config = _config()
    model_dir = _MODEL_DIR.value or f"runs/{_PRESET.value}-{config.pair}"
    if mode not in TRAINING:
        _check_pair(model_dir)
    if mode == "train_and_evaluate":
        translation_task.train_and_evaluate(
            config, model_dir, _say, _start_workers
        )
    elif mode == "evaluate":
        translation_task.evaluate(model_dir, _TEST.value, _SET.value, _say)
    elif mode == "translate":
        _translate(model_dir, paths)
    elif mode == "score":
        _score(model_dir, paths)
    elif mode == "experts":
        study_experts(model_dir, _TEST.value, _LABELS.value, _say)
    elif mode == "average":
        translation_task.average(model_dir, _AVERAGE_OF.value, _say)
    else:
        path = translation_task.export(
            model_dir,
            _SET.value,
            _ENSEMBLE.value,
            _ENSEMBLE_MEAN.value,
            _EXPORT_PRECISION.value,
        )
        _say(path)


def _check_pair(model_dir):
    """A trained model has its languages."""
    trained = ModelFolder(model_dir).load_config().pair
    if _PAIR.value not in (None, trained):
        raise ValueError(
            f"The model in {model_dir} translates {trained}. "
            f"Received: --pair={_PAIR.value}"
        )


def main(argv):
    logging.set_verbosity(logging.WARNING)
    tf.get_logger().setLevel("ERROR")  # retracing for new shapes is intended
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    with exit_codes():
        _run(argv[1:])


if __name__ == "__main__":
    app.run(main)
