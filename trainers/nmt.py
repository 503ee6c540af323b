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

Of a model of several languages, see docs/multilingual.md:

  python -m trainers.nmt --preset=phrasebook_multi --model_dir=runs/many
  echo 'Yes.' | python -m trainers.nmt --model_dir=runs/many \\
    --mode=translate --target=fr

On other text, from the weights of a model that is trained:

  python -m trainers.nmt --init_from=runs/mine --model_dir=runs/medical \\
    --train=medical/train --dev=medical/val --test=medical/test \\
    --set learning_rate=0.0005 --set steps=500

On several devices, or with a worker on each of several hosts:

  python -m trainers.nmt --strategy=mirrored --devices=GPU:0,GPU:1
  python -m trainers.nmt --strategy=multi_worker \\
    --cluster=10.0.0.1:2222,10.0.0.2:2222 --index=0

Any field of the configuration that is printed at the start can be changed:

  python -m trainers.nmt --set num_experts=32 --set dropout=0.2
  python -m trainers.nmt --set gate=top_k \\
    --set gate_options=balance_loss_weight=0.02,jitter=0.01
"""

from absl import flags

from trainers.engine.program import entry
from trainers.engine.program.flags import (
    define_average_flag,
    define_config_flags,
    define_threads_flag,
    define_worker_flags,
)
from trainers.translator import usage


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
        "What to do. translate reads the files named, or standard input, a "
        "sentence a line, and writes a line for each. score reads corpora "
        "named, or standard input, source and translation with a tab between, "
        "and writes log probability, score, subwords and their log "
        "probabilities, with tabs between. average writes the mean of "
        "checkpoints to MODEL_DIR/averaged, a folder for the other modes. "
        "experts shows what the experts do with the test corpus.",
        flag_values=values,
    )
    define_config_flags(
        values,
        usage.PRESETS,
        "runs/PRESET-PAIR",
        "gate_options=NAME=VALUE,NAME=VALUE has further arguments of the gate.",
    )
    _define_corpus_flags(values)
    _define_language_flags(values)
    _define_text_flags(values)
    _define_model_flags(values)
    define_average_flag(values)
    define_worker_flags(values)
    define_threads_flag(values)
    flags.adopt_module_key_flags(entry, values)  # --version


def _define_corpus_flags(values):
    flags.DEFINE_string(
        "pair",
        None,
        "Source and target language, as en-fr, en-pt_BR or zh_Hant-en, or one "
        "twice. Several, as en-fr,fr-en,de-en, make one model of them; "
        "en-fr,de:both is en-fr,fr-en,en-de,de-en. --mode=evaluate takes some "
        "of those of its model.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "train",
        None,
        "Corpora to train on, joined by commas: PREFIX of two files, FILE.tsv, "
        "tfds:NAME/CONFIG or phrasebook; with @WEIGHT after each they are "
        "mixed. A comma or @ of a name has a backslash before it.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "init_from",
        None,
        "Model folder whose best weights training on --train starts from; its "
        "languages, vocabulary and sizes are taken over.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "dev",
        None,
        "Corpus that chooses the best checkpoint.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "test",
        None,
        "Corpus that is reported.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "references",
        None,
        "More references of --test: text files with commas between, a line for "
        "each sentence.",
        flag_values=values,
    )


def _define_language_flags(values):
    flags.DEFINE_string(
        "target",
        None,
        "Language to translate into, of a model of several, as fr.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "source",
        None,
        "Language that is translated, which a model of several reads without "
        "being told. With it directions are refused that the model was not "
        "trained in.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "target_column",
        False,
        "Lines of --mode=translate and --mode=score begin with their target "
        "language, as fr, or a direction, as en-fr, and a tab.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "zero_shot",
        False,
        "Takes directions between languages of the model that it was not "
        "trained in, and reports them apart.",
        flag_values=values,
    )


def _define_text_flags(values):
    flags.DEFINE_integer(
        "n_best",
        0,
        "Translations of each line, written as LINE ||| TRANSLATION ||| SCORE; "
        "0 for the best one alone.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "prefixes",
        False,
        "Lines of --mode=translate are a source and, behind a tab, how its "
        "translation begins.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "alignments",
        "none",
        usage.ALIGNMENTS,
        "What --mode=translate adds after |||: links of words as 0-0 1-2, "
        "source first (hard), or the attention between all subwords, as JSON "
        "(soft).",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "long_lines",
        "cut",
        usage.LONG_LINES,
        "What becomes of lines with over --max_source_length subwords, which "
        "are named on standard error: cut translates their beginning, split "
        "each sentence of them by itself, and refuse ends the program.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_source_length",
        256,
        "Subwords of a line that are translated at once, end mark included.",
        lower_bound=2,
        flag_values=values,
    )


def _define_model_flags(values):
    flags.DEFINE_list(
        "ensemble",
        [],
        "Models that translate, score or are exported as one: model folders "
        "with commas between, or best:N or last:N, checkpoints of --model_dir. "
        "The vocabulary, the search and the folder of the export are "
        "--model_dir's.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "ensemble_mean",
        usage.MEANS[0],
        usage.MEANS,
        "What an ensemble averages.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "labels",
        None,
        "File for --mode=experts: a label a line, each a sentence.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "export_precision",
        "float32",
        usage.PRECISIONS,
        "Of weights and products in the SavedModel; int8 of weights alone.",
        flag_values=values,
    )


def main(argv, values=flags.FLAGS):
    """Does what the flags ask for; see the top of this file."""
    usage.USAGE.check(values, argv[1:])
    # Not before the flags are known to be right: TensorFlow takes seconds.
    from trainers.translator import modes

    modes.run(values.mode, argv[1:], values)


if __name__ == "__main__":
    define_flags()
    entry.run(main)
