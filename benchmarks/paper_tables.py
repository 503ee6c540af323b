"""Tables 6, 7 and 8 of arXiv:1701.06538 at the scale of one machine.

    python benchmarks/paper_tables.py table_7 --folder=runs/table_7 \\
      --train=train.txt.gz --dev=valid.txt.gz --test=test.txt.gz \\
      --million_words=11
    python benchmarks/paper_tables.py table_6 --folder=runs/table_6 ...

Every model of a table trains on the same words, in the same order, with the
same vocabulary, by `trainers.lm`; each has a folder of its own below
`--folder`. Stop the program as you like: given again, it goes on where it was.
It writes `FOLDER/table.json`, `table.md` and, with matplotlib, `table.svg`.

- `table_7`: models of equal ops per timestep, dense ones and mixtures of more
  and more experts. Perplexity is that of the test corpus, per word with the
  ends of lines; that of the dev corpus is the best on the way. Ops and
  parameters are counted without embedding and softmax.
- `table_8`: the best dense model and the mixtures, each trained on a tenth of
  the words and on all of them: do more words ask for more experts?
- `table_6`: one mixture with other weights of its two losses, and how even the
  load of the test corpus is.

`--budget` chooses the ops of all models: half a million (small), two million
(medium) or eight (large). `--models` picks some of a table, `--set` changes
fields of all.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as trainers do

import tensorflow as tf  # noqa: E402
from tensorboard.backend.event_processing import (  # noqa: E402
    event_accumulator,
)

from language_model.corpora import open_lines  # noqa: E402
from language_model.sizes import count_sizes  # noqa: E402
from trainers.engine.config.presets import preset_named  # noqa: E402
from trainers.language_model.folder import LmFolder  # noqa: E402
from trainers.language_model.presets import PRESETS  # noqa: E402
from trainers.language_model.task import train_and_evaluate  # noqa: E402
from trainers.language_model.vocabulary import make_vocabulary  # noqa: E402

BUDGETS = ("small", "medium", "large")
MIXTURES = ("moe_4", "moe_32", "moe_256", "moe_256_h", "moe_1024_h")
# Weights of the importance and the load loss, in the order of table 6.
WEIGHTS = ((0, 0), (0.2, 0), (0, 0.2), (0.1, 0.1), (0.01, 0.01), (1, 1))
_SAMPLE = 20_000  # lines by which subwords per word are told


@dataclasses.dataclass(frozen=True)
class Run:
    """One row of a table: what is trained, and on how many words."""

    name: str
    preset: str
    million_words: float
    fields: tuple = ()

    @property
    def folder(self):
        """Name of its folder."""
        return self.name.replace(", ", "_").replace(" ", "_")

    @property
    def is_dense(self):
        return _is_dense(self.preset)


def _is_dense(preset):
    model = PRESETS[preset].model
    return "moe" not in model.layers or model.num_experts == 1


def dense_models(budget):
    """Names of the dense models of a budget, the widest layer first.

    >>> dense_models("small")
    ['moe_1_wide', 'moe_1_deep', '4xlstm_128', 'lstm_512_128']
    """
    ladder = [name for name in PRESETS if name.startswith(f"{budget}_")]
    return [name.partition("_")[2] for name in ladder if _is_dense(name)]


def runs_of(table, budget, mixture, million_words):
    """The rows of a table.

    >>> runs_of("table_6", "small", "moe_256", 11)[-1].fields
    ('importance_loss_weight=1', 'load_loss_weight=1')
    >>> [run.name for run in runs_of("table_8", "small", "moe_256", 11)][:2]
    ['4xlstm_128, 1.1 M words', '4xlstm_128, 11 M words']
    """
    dense = dense_models(budget)
    if table == "table_7":
        return [
            Run(name, f"{budget}_{name}", million_words)
            for name in (*dense, *MIXTURES)
        ]
    if table == "table_8":
        stacked = [name for name in dense if name.startswith("4xlstm")]
        return [
            Run(f"{name}, {words:g} M words", f"{budget}_{name}", words)
            for name in (*stacked, *MIXTURES)
            for words in (million_words / 10, million_words)
        ]
    return [
        Run(
            f"{importance}, {load}",
            f"{budget}_{mixture}",
            million_words,
            (
                f"importance_loss_weight={importance}",
                f"load_loss_weight={load}",
            ),
        )
        for importance, load in WEIGHTS
    ]


def shared_vocabulary(arguments):
    """Makes the vocabulary of all models, once.

    Returns:
        Its path, and subwords for a word of the training text.
    """
    folder = LmFolder(pathlib.Path(arguments.folder) / "vocabulary")
    config = _config(arguments, f"{arguments.budget}_moe_1_wide", [])
    corpus = open_lines(config.train)
    make_vocabulary(config, folder, corpus, print)
    vocabulary = folder.load_vocabulary(config)
    lines = list(itertools.islice(corpus.read(), _SAMPLE))
    words = sum(len(line.split()) + 1 for line in lines)
    ids = sum(len(row) + 1 for row in vocabulary.encode(lines))
    return folder.vocabulary_path(config.vocabulary_kind), ids / words


def _config(arguments, preset, fields):
    corpora = [
        f"{name}={getattr(arguments, name)}"
        for name in ("train", "dev", "test")
        if getattr(arguments, name)
    ]
    return preset_named(PRESETS, preset, [*corpora, *fields, *arguments.set])


def train_one(arguments, run, vocabulary, ids_per_word):
    """Trains a model, or takes up what there is of it; its row."""
    folder = pathlib.Path(arguments.folder) / run.folder
    fields = [*run.fields, f"vocabulary_file={vocabulary}"]
    if not run.is_dense:
        fields += arguments.set_mixtures
    config = _config(arguments, run.preset, fields)
    ids = run.million_words * 1e6 * ids_per_word
    steps = max(1, round(ids / config.batches.tokens_per_batch))
    config = dataclasses.replace(
        config, loop=dataclasses.replace(config.loop, steps=steps)
    )
    results = train_and_evaluate(config, folder, _prefixed(run.name))
    trained = LmFolder(folder).load_config()
    sizes = count_sizes(trained.model)
    seconds = 60 * results["training_minutes"]
    curve = _curve(folder, config, ids_per_word)
    return {
        "model": run.name,
        "is_dense": run.is_dense,
        "million_words": run.million_words,
        "perplexity": results["perplexity"],
        "ops": sizes.ops,
        "parameters": sizes.parameters,
        "words_per_second": results["tokens"] / ids_per_word / seconds,
        "routing": results["routing"],
        "dev_perplexity": min((each for _, each in curve), default=None),
        "curve": curve,
    }


def _prefixed(name):
    return lambda line: print(f"[{name}] {line}" if line else "", flush=True)


def _curve(folder, config, ids_per_word):
    """Words read and perplexity of the dev corpus, evaluation by evaluation."""
    events = event_accumulator.EventAccumulator(str(folder / "logs" / "dev"))
    events.Reload()
    if "perplexity" not in events.Tags()["tensors"]:
        return []
    words = config.batches.tokens_per_batch / ids_per_word
    return [
        (event.step * words, float(tf.make_ndarray(event.tensor_proto)))
        for event in events.Tensors("perplexity")
    ]


def as_markdown(rows):
    """The table, with what each gains on the best dense one of as many words.

    >>> row = {"model": "moe_4", "is_dense": False, "million_words": 11,
    ...        "perplexity": 90.0, "dev_perplexity": 95.0, "ops": 5e5,
    ...        "parameters": 1e6, "words_per_second": 9e3, "routing": {}}
    >>> dense = {**row, "model": "moe_1_wide", "is_dense": True,
    ...          "perplexity": 100.0}
    >>> print(as_markdown([dense, row]).splitlines()[-1])
    | moe_4 | 90.00 | -10.0% | 95.00 | 0.50 | 1.0 | 9,000 | | |
    """
    lines = [
        "| model | perplexity | to the best dense | dev | ops, M | "
        "parameters, M | words/s | CV(load) | max/mean load |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        dense = [
            other["perplexity"]
            for other in rows
            if other["is_dense"]
            and other["million_words"] == row["million_words"]
        ]
        gain = f"{row['perplexity'] / min(dense) - 1:+.1%} " if dense else ""
        dev = row["dev_perplexity"]
        dev = "" if dev is None else f"{dev:.2f} "
        loads = [*row["routing"].values()]
        cv, peak = (
            f"{max(load[name] for load in loads):.2f} " if loads else ""
            for name in ("cv_load", "max_over_mean_load")
        )
        lines.append(
            f"| {row['model']} | {row['perplexity']:.2f} | {gain}| {dev}| "
            f"{row['ops'] / 1e6:.2f} | {row['parameters'] / 1e6:.1f} | "
            f"{row['words_per_second']:,.0f} | {cv}| {peak}|"
        )
    return "\n".join(lines)


def draw(rows, path):
    """Perplexity against parameters, and as words are read."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for words in sorted({row["million_words"] for row in rows}):
        mixtures = sorted(
            (row["parameters"], row["perplexity"])
            for row in rows
            if row["million_words"] == words and not row["is_dense"]
        )
        if mixtures:
            left.semilogx(*zip(*mixtures, strict=True), "-", color="0.8")
    for row in rows:
        style = {"marker": "s" if row["is_dense"] else "o"}
        left.semilogx(
            row["parameters"], row["perplexity"], label=row["model"], **style
        )
        if row["curve"]:
            words, perplexities = zip(*row["curve"], strict=True)
            millions = [count / 1e6 for count in words]
            line = "--" if row["is_dense"] else "-"
            right.plot(millions, perplexities, line, label=row["model"])
    left.set(xlabel="parameters without tables", ylabel="test perplexity")
    right.set(
        xlabel="million words read", ylabel="dev perplexity", yscale="log"
    )
    right.yaxis.set_major_formatter("{x:.0f}")
    right.yaxis.set_minor_formatter("{x:.0f}")
    right.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", choices=("table_6", "table_7", "table_8"))
    parser.add_argument("--folder", required=True)
    for name in ("train", "dev", "test"):
        parser.add_argument(f"--{name}", help="as of trainers.lm")
    parser.add_argument("--million_words", type=float, default=11.0)
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--models", nargs="*", help="names; all by default")
    parser.add_argument("--mixture", default="moe_256", help="that of table_6")
    parser.add_argument("--set", action="append", default=[], help="of all")
    parser.add_argument(
        "--set_mixtures",
        action="append",
        default=[],
        help="of all but the dense ones, as shared_hidden_dim=512",
    )
    arguments = parser.parse_args()
    runs = runs_of(
        arguments.table,
        arguments.budget,
        arguments.mixture,
        arguments.million_words,
    )
    names = [run.name for run in runs]
    unknown = {*(arguments.models or names)} - {*names}
    if unknown:
        parser.error(f"--models: unknown {unknown}; known: {'; '.join(names)}")
    folder = pathlib.Path(arguments.folder)
    vocabulary, ids_per_word = shared_vocabulary(arguments)
    rows = []
    for name in arguments.models or names:
        run = runs[names.index(name)]
        rows.append(train_one(arguments, run, vocabulary, ids_per_word))
        (folder / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
        (folder / "table.md").write_text(as_markdown(rows) + "\n")
        print(as_markdown(rows), flush=True)
    try:
        draw(rows, folder / "table.svg")
    except ImportError:
        print("No picture: pip install 'moe-keras[plots]'.")


if __name__ == "__main__":
    main()
