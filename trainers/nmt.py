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

from absl import app, flags

from trainers.engine.program.flags import (
    ConfigFlags,
    WorkerFlags,
    define_average_of,
    define_threads,
)
from trainers.engine.program.main import run_program
from trainers.engine.program.usage import TRAINING_FLAGS, check_usage
from trainers.translator import task as translation_task
from trainers.translator.expert_study import study_experts
from trainers.translator.folder import ModelFolder
from trainers.translator.presets import PRESETS
from trainers.translator.serving import PRECISIONS
from trainers.translator.text_modes import (
    ALIGNMENTS,
    LineTranslator,
    PairScorer,
    line_groups,
    pair_groups,
)
from translation.search.ensemble import MEANS

_TRAINING = ("train_and_evaluate",)
_FILTERS = ("translate", "score")
_READERS = (*_FILTERS, "export")
# Modes that accept each mode-specific flag.
_MODES_OF_FLAG = {
    **dict.fromkeys(("train", "dev", *TRAINING_FLAGS), _TRAINING),
    "test": (*_TRAINING, "evaluate", "experts"),
    "set": (*_TRAINING, "evaluate", *_READERS),
    "ensemble": _READERS,
    "ensemble_mean": _READERS,
    "n_best": ("translate",),
    "alignments": ("translate",),
    "average_of": ("average",),
    "labels": ("experts",),
    "export_precision": ("export",),
}

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
_CONFIG = ConfigFlags(
    PRESETS,
    "runs/PRESET-PAIR",
    "gate_options=NAME=VALUE,NAME=VALUE has further arguments of the gate.",
)
_PAIR = flags.DEFINE_string(
    "pair", None, "Source and target language, as en-fr or en-de."
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
_AVERAGE_OF = define_average_of()
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
_WORKERS = WorkerFlags()
_THREADS = define_threads()

_say = functools.partial(print, flush=True)


def _config():
    given = {
        "pair": _PAIR.value,
        "train": _TRAIN.value,
        "dev": _DEV.value,
        "test": _TEST.value,
    }
    return _CONFIG.config(
        f"{name}={text}" for name, text in given.items() if text
    )


def _translate(model_dir, paths):
    groups = line_groups(paths, sys.stdin.buffer)  # what is missing comes first
    translate = LineTranslator(
        model_dir,
        _CONFIG.changes,
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
        model_dir, _CONFIG.changes, _ENSEMBLE.value, _ENSEMBLE_MEAN.value
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
    check_usage(mode, _MODES_OF_FLAG, paths, _FILTERS)
    config = _config()
    model_dir = _CONFIG.model_dir(config.pair)
    if mode not in _TRAINING:
        _check_pair(model_dir)
    if mode == "train_and_evaluate":
        translation_task.train_and_evaluate(
            config, model_dir, _say, _WORKERS.options()
        )
    elif mode == "evaluate":
        translation_task.evaluate(model_dir, _TEST.value, _CONFIG.changes, _say)
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
            _CONFIG.changes,
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
    run_program(functools.partial(_run, argv[1:]), _THREADS.value)


if __name__ == "__main__":
    app.run(main)
