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

from absl import flags

from trainers import program, usage

_MODE = flags.DEFINE_enum(
    "mode",
    "train_and_evaluate",
    usage.MODES,
    "What to do. translate reads the files named, or standard input, a "
    "sentence a line, and writes a line for each. score reads corpora named, "
    "or standard input, source and translation with a tab between, and writes "
    "log probability, score, subwords and their log probabilities, with tabs "
    "between. average writes the mean of checkpoints to MODEL_DIR/averaged, a "
    "folder for the other modes. experts shows what the experts do with the "
    "test corpus.",
)
flags.DEFINE_string(
    "preset",
    "phrasebook",
    f"Named configuration to start from: {', '.join(usage.PRESETS)}.",
)
flags.DEFINE_string(
    "pair",
    None,
    "Source and target language, as en-fr, en-pt_BR or zh_Hant-en, or one "
    "twice.",
)
flags.DEFINE_string(
    "model_dir",
    None,
    "Folder of checkpoints, logs and SavedModel [runs/PRESET-PAIR].",
)
flags.DEFINE_string(
    "train",
    None,
    "Corpora to train on, joined by commas: PREFIX of two files, FILE.tsv, "
    "tfds:NAME/CONFIG or phrasebook; with @WEIGHT after each they are mixed. "
    "A comma or @ of a name has a backslash before it.",
)
flags.DEFINE_string("dev", None, "Corpus that chooses the best checkpoint.")
flags.DEFINE_string("test", None, "Corpus that is reported.")
flags.DEFINE_string(
    "references",
    None,
    "More references of --test: text files with commas between, a line for "
    "each sentence.",
)
flags.DEFINE_string(
    "average_of",
    "best",
    "Checkpoints to average: best or last, or so many of them, as last:5.",
)
flags.DEFINE_integer(
    "n_best",
    0,
    "Translations of each line, written as LINE ||| TRANSLATION ||| SCORE; 0 "
    "for the best one alone.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "alignments",
    "none",
    usage.ALIGNMENTS,
    "What --mode=translate adds after |||: links of words as 0-0 1-2, source "
    "first (hard), or the attention between all subwords, as JSON (soft).",
)
flags.DEFINE_list(
    "ensemble",
    [],
    "Models that translate, score or are exported as one: model folders with "
    "commas between, or best:N or last:N, checkpoints of --model_dir. The "
    "vocabulary, the search and the folder of the export are --model_dir's.",
)
flags.DEFINE_enum(
    "ensemble_mean",
    usage.MEANS[0],
    usage.MEANS,
    "What an ensemble averages.",
)
flags.DEFINE_string(
    "labels", None, "File for --mode=experts: a label a line, each a sentence."
)
flags.DEFINE_enum(
    "export_precision",
    "float32",
    usage.PRECISIONS,
    "Of weights and products in the SavedModel.",
)
flags.DEFINE_multi_string(
    "set",
    [],
    "Change a field of the configuration: FIELD=VALUE. Repeatable. "
    "gate_options=NAME=VALUE,NAME=VALUE has further arguments of the gate.",
)

flags.DEFINE_enum(
    "strategy",
    "none",
    usage.STRATEGIES,
    "tf.distribute: mirrored shares each batch out to devices, multi_worker "
    "to processes on several hosts.",
)
flags.DEFINE_string(
    "devices",
    None,
    "Devices for mirrored or a mesh: how many, or their names, as GPU:0,GPU:1. "
    "Without a GPU a number divides the processor, to try things out [all "
    "GPUs, or as many as the mesh has places].",
)
flags.DEFINE_string(
    "cluster",
    None,
    "Addresses of all workers, HOST:PORT,HOST:PORT, the same everywhere; the "
    "first is the chief [from TF_CONFIG]. With a mesh the first is this "
    "program, and the others lend their devices: moe_keras.parallel.worker.",
)
flags.DEFINE_integer(
    "index", None, "Which of the addresses is this worker's own, from 0."
)

flags.DEFINE_string(
    "layout",
    None,
    "experts:replica gives each replica a part of the experts [all of them]. "
    "With a mesh: what is split over which of its dimensions, batch, experts "
    "and hidden, as batch:data;experts:model.",
)
flags.DEFINE_string(
    "mesh_shape",
    None,
    "Mesh of devices that share the experts, as data:2;model:2; see --layout.",
)

flags.DEFINE_integer(
    "threads_per_operation",
    1,
    "Threads that share one operation on the processor; 0 for as many as it "
    "has cores. With few cores and small models they are better left to "
    "operations that can run side by side.",
    lower_bound=0,
)

flags.adopt_module_key_flags(program)  # --version


def main(argv):
    """Does what the flags ask for; see the top of this file."""
    usage.check_usage(_MODE.value, argv[1:])
    # Not before the flags are known to be right: TensorFlow takes seconds.
    from trainers.translator import modes

    modes.run(_MODE.value, argv[1:], flags.FLAGS)


if __name__ == "__main__":
    program.run(main)
