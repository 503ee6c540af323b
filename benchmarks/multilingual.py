"""Table 5 of arXiv:1701.06538 at the scale of one machine: many languages.

    python benchmarks/multilingual.py --folder=runs/table_5 \\
      --train=help/train.{pair} --dev=help/dev.{pair} --test=help/test.{pair}

One model with experts and a dense one of the same ops per timestep learn all
directions, with the same vocabulary, batches and number of updates; then a
small model of each direction alone, as large as the dense one, learns as many
updates as `--mono_steps` says, by default an eighth. Each has a folder of its
own below `--folder`. Stop the program as you like: given again, it goes on
where it was, and what is finished is not done again.

It writes `FOLDER/table.json` and `FOLDER/table.md` after each model: perplexity
of the dev corpora, BLEU and chrF of the test corpora by direction, and the
differences that the paper tells. `--zero_shot` names directions that no model
was trained in; their test sets are made of the test corpora, of lines with the
same English. The speed of training with experts, over that of the dense model,
is measured on batches in turns.

`--pair` and `--preset` choose others, `--models` some of experts, dense and
mono, `--set` changes fields of all.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as trainers do

import tensorflow as tf  # noqa: E402
from interleaved import interleaved_times, median_ratio  # noqa: E402

from trainers.engine.config.presets import preset_named  # noqa: E402
from trainers.engine.folder.files import write_json  # noqa: E402
from trainers.engine.train_step import TrainStep  # noqa: E402
from trainers.translator.evaluation import DevEvaluation  # noqa: E402
from trainers.translator.folder import ModelFolder, build_model  # noqa: E402
from trainers.translator.presets import PRESETS  # noqa: E402
from trainers.translator.task import (  # noqa: E402
    evaluate,
    train_and_evaluate,
    training_loss,
)
from translation.model.sizes import (  # noqa: E402
    count_ops,
    count_parameters,
)
from translation.text.corpora.multilingual import (  # noqa: E402
    open_directions,
)
from translation.text.directions import parse_directions  # noqa: E402
from translation.text.input_pipeline import training_batches  # noqa: E402

KINDS = ("experts", "dense", "mono")
_SCORES = ("bleu", "chrf", "perplexity")


@dataclasses.dataclass(frozen=True)
class Run:
    """One model of the table."""

    name: str  # of its folder
    kind: str  # one of KINDS
    preset: str
    pair: str
    fields: tuple = ()


def runs_of(preset, pair, steps, mono_steps, kinds=KINDS):
    """The models of the table, in the order in which they are trained.

    >>> [run.name for run in runs_of("multilingual_small", "en-fr:both", 9, 3)]
    ['experts', 'dense', 'mono.en-fr', 'mono.fr-en']
    """
    directions = parse_directions(pair)
    runs = [
        Run("experts", "experts", preset, str(directions), (f"steps={steps}",)),
        Run(
            "dense",
            "dense",
            f"{preset}_dense",
            str(directions),
            (f"steps={steps}",),
        ),
        *(
            Run(
                f"mono.{direction}",
                "mono",
                f"{preset}_dense",
                str(direction),
                (f"steps={mono_steps}", "mixing=proportional"),
            )
            for direction in directions
        ),
    ]
    return [run for run in runs if run.kind in kinds]


def config_of(arguments, run):
    """The configuration; models of all directions share a vocabulary."""
    fields = [
        f"{name}={getattr(arguments, name)}"
        for name in ("train", "dev", "test")
        if getattr(arguments, name)
    ]
    fields += [*run.fields, *arguments.set, f"pair={run.pair}"]
    shared = arguments.folder / "experts" / "tokenizer.model"
    if run.kind == "dense" and shared.exists():
        size = ModelFolder(shared.parent).load_tokenizer().vocab_size
        fields += [f"tokenizer_model={shared}", f"vocab_size={size}"]
    return preset_named(PRESETS, run.preset, fields)


def measure(arguments, run):
    """Trains a model, or takes up what there is of it; its figures."""
    path = arguments.folder / run.name
    figures_path = path / "table_5.json"
    config = config_of(arguments, run)

    def log(line):
        print(f"[{run.name}] {line}" if line else "", flush=True)

    results = train_and_evaluate(config, path, log)
    if figures_path.exists():
        found = json.loads(figures_path.read_text("utf-8"))
    else:
        found = _figures(run, path, results)
        write_json(figures_path, found)
    if arguments.zero_shot and run.kind != "mono" and "zero_shot" not in found:
        found["zero_shot"] = zero_shot(arguments, path, log)
        write_json(figures_path, found)
    return found


def _figures(run, path, results):
    folder = ModelFolder(path)
    config = folder.load_config()
    return {
        "kind": run.kind,
        "steps": results["steps"],
        "minutes": results["training_minutes"],
        "ops": count_ops(config.model).total,
        "parameters": count_parameters(config.model).total,
        "dev": dev_perplexities(folder, config),
        "test": by_direction(results, run.pair),
    }


def by_direction(results, pair):
    """BLEU, chrF and perplexity by direction, of results of one or several."""
    of_each = results.get("directions", {pair: results})
    return {
        direction: {name: figures[name] for name in (*_SCORES, "signature")}
        for direction, figures in of_each.items()
    }


def dev_perplexities(folder, config):
    """Perplexities of the dev corpora; `all` is that of all tokens."""
    model, tokenizer = folder.load_model(config)
    corpus = open_directions(config.dev, config.pair, "dev")
    plain = dataclasses.replace(config, dev_sentences=0, dev_score="perplexity")
    evaluation = DevEvaluation(plain, model, tokenizer, corpus)
    return {
        direction or "all": figures["perplexity"]
        for direction, figures in evaluation.of_directions().items()
    }


def zero_shot(arguments, path, log):
    """Figures of directions that the model was not trained in."""
    pair = str(parse_directions(arguments.zero_shot))
    prefix = make_zero_shot_sets(
        arguments.test, pair, arguments.folder / "zero_shot"
    )
    results = evaluate(path, prefix, log=log, pair=pair, zero_shot=True)
    return by_direction(results["zero_shot"], pair)


def make_zero_shot_sets(test, pair, folder):
    """Makes test sets of directions between two languages beside English.

    Lines of the two test corpora with the same English are translations of
    each other; of lines that come again the first one counts.

    Args:
        test: str, the test corpora with English, see `open_directions`.
        pair: str, the directions.
        folder: `pathlib.Path`, for the files.

    Returns:
        str, their name with `{pair}`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = str(folder / "test.{pair}")
    for one, other in parse_directions(pair):
        if (folder / f"test.{other}-{one}.{one}").exists():
            continue  # the same files serve both ways
        translations = [
            _first_translations(open_directions(test, f"en-{tag}", "test"))
            for tag in (one, other)
        ]
        both = [x for x in translations[0] if x in translations[1]]
        for tag, found in zip((one, other), translations, strict=True):
            text = "".join(f"{found[english]}\n" for english in both)
            path = folder / f"test.{one}-{other}.{tag}"
            path.write_text(text, "utf-8")
    return prefix


def _first_translations(corpus):
    found = {}
    for english, translation in corpus.pairs():
        found.setdefault(english.strip(), translation)
    return found


def speed_ratio(arguments, runs, rounds):
    """Tokens a second with experts, over those of the dense model.

    Both train on the same batches in turns, from fresh weights, with their
    own optimizer.

    Returns:
        dict: `ratio`, the median over rounds; target tokens a second of each.
    """
    folder = ModelFolder(arguments.folder / "experts")
    tokenizer, config = folder.load_tokenizer(), folder.load_config()
    corpus = open_directions(config.train, config.pair, filters=config.filters)
    batches = list(training_batches(corpus, tokenizer, config.batches).take(10))
    tokens = sum(
        int(tf.math.count_nonzero(batch["target_out"])) for batch in batches
    )
    steps = {
        run.name: _steps(
            ModelFolder(arguments.folder / run.name).load_config(), batches
        )
        for run in runs
        if run.kind != "mono"
    }
    times = interleaved_times(steps, rounds)
    wall = {name: found.wall for name, found in times.items()}
    return {
        "ratio": median_ratio(wall["dense"], wall["experts"]),
        "processor_ratio": median_ratio(
            times["dense"].processor, times["experts"].processor
        ),
        **{
            f"{name}_tokens_per_second": tokens / statistics.median(seconds)
            for name, seconds in wall.items()
        },
    }


def _steps(config, batches):
    """A function that trains a fresh model on all batches once."""
    import functools

    from trainers.engine.optimizer import OPTIMIZERS

    model = build_model(config)
    optimizer = OPTIMIZERS[config.loop.optimizer](config.loop.learning_rate)
    optimizer.build(model.trainable_variables)
    loss = functools.partial(training_loss, smoothing=config.label_smoothing)
    step = TrainStep(model, loss, optimizer, config.loop.clip_norm)

    def run():
        turn = iter(batches)
        for _ in batches:
            step(turn)

    return run


def summary(rows):
    """What the paper says of its table, in figures of ours.

    Args:
        rows: dict of figures by name of the run, as of `measure`.

    Returns:
        dict; what needs models that are not there yet is left out.
    """
    experts, dense = rows.get("experts"), rows.get("dense")
    mono = {
        direction: figures["test"][direction]["bleu"]
        for name, figures in rows.items()
        if figures["kind"] == "mono"
        for direction in figures["test"]
    }
    found = {}
    if experts and dense:
        ratio = experts["dev"]["all"] / dense["dev"]["all"]
        found["dev_perplexity_difference"] = ratio - 1
        found["better_than_dense"] = _count_better(
            experts, {d: x["bleu"] for d, x in dense["test"].items()}
        )
    if experts and mono:
        found["better_than_mono"] = _count_better(experts, mono)
    return found


def _count_better(experts, others):
    better = [d for d in others if experts["test"][d]["bleu"] > others[d]]
    return f"{len(better)} of {len(others)}"


def as_markdown(rows):
    """The table, in the order of the paper's.

    >>> figures = {"steps": 9, "ops": 2e6, "parameters": 3e6,
    ...     "dev": {"all": 4.0, "en-fr": 4.0},
    ...     "test": {"en-fr": {"bleu": 20.0, "chrf": 50.0}}}
    >>> rows = {"dense": {"kind": "dense", **figures},
    ...     "experts": {"kind": "experts", **figures, "dev": {"all": 3.0}}}
    >>> table = as_markdown(rows).splitlines()
    >>> print(table[5]), print(table[7])
    | dev perplexity | | 4.00 | 3.00 | -25.0% |  |
    | en-fr, BLEU | | 20.00 | 20.00 | +0.00 |  |
    (None, None)
    """
    dense, experts = rows.get("dense"), rows.get("experts")
    mono = {
        direction: figures
        for figures in rows.values()
        if figures["kind"] == "mono"
        for direction in figures["test"]
    }
    any_mono = next(iter(mono.values()), None)
    three = (any_mono, dense, experts)
    lines = [
        "| | mono | dense | experts | experts to dense | experts to mono |",
        "| --- | --- | --- | --- | --- | --- |",
        _row("updates", *(x and f"{x['steps']:,}" for x in three)),
        _row("ops, M", *(x and f"{x['ops'] / 1e6:.2f}" for x in three)),
        _row(
            "parameters, M",
            *(x and f"{x['parameters'] / 1e6:.1f}" for x in three),
        ),
        _row(
            "dev perplexity",
            None,
            *(x and f"{x['dev']['all']:.2f}" for x in three[1:]),
            dense
            and experts
            and _percent(experts["dev"]["all"] / dense["dev"]["all"]),
        ),
        _row(
            "mean of perplexities",
            None,
            *(x and f"{_mean_perplexity(x):.2f}" for x in three[1:]),
            dense
            and experts
            and _percent(_mean_perplexity(experts) / _mean_perplexity(dense)),
        ),
    ]
    both = experts or dense
    names = [*both["test"]] if both else [*mono]
    for score in ("bleu", "chrf"):
        for direction in names:
            values = [
                x and x["test"][direction][score]
                for x in (mono.get(direction), dense, experts)
            ]
            label = {"bleu": "BLEU", "chrf": "chrF"}[score]
            lines.append(_scores_row(f"{direction}, {label}", values))
    lines += _zero_shot_rows(dense, experts)
    return "\n".join(lines)


def _percent(ratio):
    return f"{ratio - 1:+.1%}"


def _mean_perplexity(figures):
    values = [x for name, x in figures["dev"].items() if name != "all"]
    return statistics.mean(values or figures["dev"].values())


def _zero_shot_rows(dense, experts):
    pairs = [x.get("zero_shot", {}) if x else {} for x in (dense, experts)]
    names = dict.fromkeys([*pairs[0], *pairs[1]])
    return [
        _scores_row(
            f"{direction}, zero-shot {label}",
            [None, *(x.get(direction, {}).get(score) for x in pairs)],
        )
        for score, label in (("bleu", "BLEU"), ("chrf", "chrF"))
        for direction in names
    ]


def _scores_row(label, values):
    mono, dense, experts = values
    differences = [
        None if experts is None or other is None else f"{experts - other:+.2f}"
        for other in (dense, mono)
    ]
    cells = [None if x is None else f"{x:.2f}" for x in values]
    return _row(label, *cells, *differences)


def _row(label, *cells):
    cells = [cell or "" for cell in [*cells, *[None] * (5 - len(cells))]]
    return "| " + " | ".join([label, *cells]).replace("|  |", "| |") + " |"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    for name in ("train", "dev", "test"):
        parser.add_argument(f"--{name}", help="as of trainers.nmt")
    parser.add_argument("--preset", default="multilingual_small")
    parser.add_argument("--pair", help="the directions; the preset's if none")
    parser.add_argument("--steps", type=int, help="updates; the preset's")
    parser.add_argument("--mono_steps", type=int, help="an eighth of --steps")
    parser.add_argument("--models", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--zero_shot", default="", help="as fr-de,de-fr")
    parser.add_argument("--rounds", type=int, default=10, help="of the speed")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    steps = arguments.steps or preset.loop.steps
    runs = runs_of(
        arguments.preset,
        arguments.pair or preset.pair,
        steps,
        arguments.mono_steps or max(1, steps // 8),
        arguments.models,
    )
    rows, table = {}, arguments.folder / "table.json"
    about = {}
    for run in runs:
        rows[run.name] = measure(arguments, run)
        if run.kind == "dense" and "experts" in rows and arguments.rounds:
            about["speed"] = _speed_once(arguments, runs)
        found = {"models": rows, "summary": summary(rows), **about}
        write_json(table, found)
        text = as_markdown(rows)
        table.with_suffix(".md").write_text(f"{text}\n", "utf-8")
        print(text, json.dumps(found["summary"] | about, indent=1), flush=True)


def _speed_once(arguments, runs):
    path = arguments.folder / "speed.json"
    if not path.exists():
        write_json(path, speed_ratio(arguments, runs, arguments.rounds))
    return json.loads(path.read_text("utf-8"))


if __name__ == "__main__":
    main()
