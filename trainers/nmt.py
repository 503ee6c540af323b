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
  python -m trainers.nmt --model_dir=runs/mine --mode=export
  python -m trainers.nmt --model_dir=runs/mine --mode=average --average_of=last

Any field of the configuration that is printed at the start can be changed:

  python -m trainers.nmt --set num_experts=32 --set dropout=0.2
"""

import functools
import sys

import tensorflow as tf
from absl import app, flags, logging

from trainers import translation_task
from trainers.bad_steps import TrainingError
from trainers.checkpoint_files import CheckpointError, reason
from trainers.interruption import Interrupted
from trainers.presets import PRESETS, preset, with_overrides
from trainers.serving import PRECISIONS

_MODE = flags.DEFINE_enum(
    "mode",
    "train_and_evaluate",
    ["train_and_evaluate", "evaluate", "translate", "export", "average"],
    "What to do. translate reads the files named, or standard input, a "
    "sentence a line. average writes the mean of checkpoints to "
    "MODEL_DIR/averaged, a folder for the other modes.",
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
    "train", None, "Corpus to train on: PREFIX of files, .tsv or phrasebook."
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
_EXPORT_PRECISION = flags.DEFINE_enum(
    "export_precision",
    "float32",
    PRECISIONS,
    "Of weights and products in the SavedModel.",
)
_SET = flags.DEFINE_multi_string(
    "set", [], "Change a field of the configuration: FIELD=VALUE. Repeatable."
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


def _translate(model_dir, paths):
    lines = []
    for path in paths or [None]:
        if path is None:
            lines += _lines(sys.stdin)
        else:
            with open(path, encoding="utf-8") as file:
                lines += _lines(file)
    for text in translation_task.translate(model_dir, lines, _SET.value):
        _say(text.replace("\n", " "))  # one translation a line


def _lines(file):
    """Lines as they are counted elsewhere: only a line feed ends one."""
    return file.read().removesuffix("\n").split("\n")


def _run(paths):
    mode = _MODE.value
    if paths and mode != "translate":
        raise app.UsageError(f"Unexpected arguments: {' '.join(paths)}")
    config = _config()
    model_dir = _MODEL_DIR.value or f"runs/{_PRESET.value}-{config.pair}"
    if mode == "train_and_evaluate":
        translation_task.train_and_evaluate(config, model_dir, _say)
    elif mode == "evaluate":
        translation_task.evaluate(model_dir, _TEST.value, _SET.value, _say)
    elif mode == "translate":
        _translate(model_dir, paths)
    elif mode == "average":
        translation_task.average(model_dir, _AVERAGE_OF.value, _say)
    else:
        precision = _EXPORT_PRECISION.value
        _say(translation_task.export(model_dir, _SET.value, precision))


def main(argv):
    logging.set_verbosity(logging.WARNING)
    tf.get_logger().setLevel("ERROR")  # retracing for new shapes is intended
    try:
        _run(argv[1:])
    except (ValueError, OSError, TrainingError, CheckpointError) as error:
        sys.exit(f"Error: {error}")
    except (
        tf.errors.ResourceExhaustedError,  # memory, or a disk for TensorBoard
        tf.errors.PermissionDeniedError,
    ) as error:
        sys.exit(f"Error: {reason(error)}")
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)
    except KeyboardInterrupt:
        _say("Stopped by Ctrl-C. Nothing that was saved is lost.")
        sys.exit(130)


if __name__ == "__main__":
    app.run(main)
