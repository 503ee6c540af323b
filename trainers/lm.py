"""Trains, evaluates and uses language models with mixtures of experts.

On the corpus that comes with the package:

  python -m trainers.lm

On your own text, a sentence in each line, plain or .gz:

  python -m trainers.lm --preset=small_moe_256 --train=data/train.txt.gz \\
    --dev=data/valid.txt.gz --test=data/test.txt.gz --model_dir=runs/lm

Run the same command again and it resumes where it was stopped or killed. Then:

  python -m trainers.lm --model_dir=runs/lm --mode=evaluate \\
    --test=data/test.txt.gz --labels=data/test.domain.gz
  python -m trainers.lm --model_dir=runs/lm --mode=average
  python -m trainers.lm --model_dir=runs/lm --mode=experts \\
    --test=data/test.txt.gz --labels=data/test.domain.gz
  python -m trainers.lm --model_dir=runs/lm --mode=score lines.txt
  python -m trainers.lm --model_dir=runs/lm --mode=score --rerank=0.3 n_best.txt
  echo 'The cat' | python -m trainers.lm --model_dir=runs/lm --mode=generate \\
    --set temperature=0.8 --set top_p=0.9
  python -m trainers.lm --model_dir=runs/lm --mode=export

Any field of the configuration that is printed at the start can be changed:

  python -m trainers.lm --set num_experts=32 --set dropout=0.2
"""

from absl import flags

from trainers.engine.program import entry
from trainers.engine.program.flags import (
    define_average_flag,
    define_config_flags,
    define_threads_flag,
    define_worker_flags,
)
from trainers.language_model import usage


def define_flags(values=flags.FLAGS):
    """Defines the program's flags.

    Not on import, since other programs have flags of the same names.

    Args:
        values: `absl.flags.FlagValues` that they are defined in.
    """
    flags.DEFINE_enum(
        "mode",
        "train_and_evaluate",
        usage.MODES,
        "What to do. score reads the files named, or standard input, and "
        "writes log probability, subwords and their log probabilities for "
        "each line, with tabs between. generate continues each line. average "
        "writes the mean of checkpoints to MODEL_DIR/averaged, a folder for "
        "the other modes. export writes a new version of the SavedModel. "
        "experts shows what the experts do with --test.",
        flag_values=values,
    )
    define_config_flags(values, usage.PRESETS, "runs/lm-PRESET")
    _define_corpus_flags(values)
    _define_text_flags(values)
    _define_export_flags(values)
    define_average_flag(values)
    define_worker_flags(values)
    define_threads_flag(values)
    flags.adopt_module_key_flags(entry, values)  # --version


def _define_corpus_flags(values):
    flags.DEFINE_string(
        "train",
        None,
        "Text to train on, joined by commas: a file, a pattern, a folder, "
        "tfds:NAME or phrasebook; with @WEIGHT after each they are mixed.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "dev",
        None,
        "Text that chooses the best checkpoint.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "test",
        None,
        "Text that is reported.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "labels",
        None,
        "File with a label for each line of --test, such as its domain: "
        "evaluate tells perplexity for each, experts how much of the choice "
        "of experts it is.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "masked",
        0,
        "experts also masks so many of each layer, one at a time, and tells "
        "what each costs its own label of --labels and the others.",
        lower_bound=0,
        flag_values=values,
    )


def _define_text_flags(values):
    flags.DEFINE_float(
        "rerank",
        None,
        "score reads n-best lists, LINE ||| TEXT ||| SCORE, adds this times "
        "the log probability to the scores and sorts each list.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "samples",
        0,
        "Continuations of each line, written as LINE ||| TEXT; 0 for one "
        "alone.",
        lower_bound=0,
        flag_values=values,
    )


def _define_export_flags(values):
    flags.DEFINE_enum(
        "export_precision",
        "float32",
        usage.PRECISIONS,
        "Of weights and products in the SavedModel; int8 of weights alone.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_length",
        1024,
        "Subwords of a text that the exported model reads: the last of a "
        "prompt, the first of a text to be scored.",
        lower_bound=2,
        flag_values=values,
    )


def main(argv, values=flags.FLAGS):
    """Does what the flags ask for; see the top of this file."""
    usage.USAGE.check(values, argv[1:])
    # Not before the flags are known to be right: TensorFlow takes seconds.
    from trainers.language_model import modes

    modes.run(values.mode, argv[1:], values)


if __name__ == "__main__":
    define_flags()
    entry.run(main)
