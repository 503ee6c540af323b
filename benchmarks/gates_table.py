"""Each gate in the same translator: perplexity, balance and time of a step.

    python benchmarks/gates_table.py gates --train=train --dev=val
    python benchmarks/gates_table.py losses --train=train --dev=val

The translator's multi30k preset made smaller (`SMALLER`) trains for the same
few hundred steps, on the same batches from the same seed. Perplexity and load
are those of the dev corpus, at inference.

`gates` takes one gate after the other. The hierarchical one has 4 groups of 4
experts, of which a token takes 2 groups and one expert of each. Afterwards the
trained models take turns at training steps on the same batches, for the time
of a step over that of `noisy_top_k`.

`losses` is table 6 of arXiv:1701.06538 at this scale: `noisy_top_k` with other
weights of its two losses. The verdict is that of `moe_keras.monitoring`. At the
end it says whether collapse shows: whether a layer's spread of load falls below
the threshold that the verdict has without the losses, and with both does not.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import math
import os
import statistics
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as trainers do

from interleaved import interleaved_times  # noqa: E402  after the log level

from moe_keras import gating  # noqa: E402
from moe_keras.monitoring import Thresholds, routing_layers  # noqa: E402
from moe_keras.monitoring.windows import spread  # noqa: E402
from trainers.engine.config.overrides import with_overrides  # noqa: E402
from trainers.engine.loop import Loop, seed_everything  # noqa: E402
from trainers.engine.task import Task  # noqa: E402
from trainers.engine.train_step import TrainStep  # noqa: E402
from trainers.translator.evaluation import DevEvaluation  # noqa: E402
from trainers.translator.folder import build_model  # noqa: E402
from trainers.translator.presets import preset  # noqa: E402
from trainers.translator.task import training_loss  # noqa: E402
from translation.text.corpora.corpus import open_corpus  # noqa: E402
from translation.text.input_pipeline import training_batches  # noqa: E402
from translation.text.tokenizer.tokenizer import Tokenizer  # noqa: E402
from translation.text.tokenizer.training import train_tokenizer  # noqa: E402

SMALLER = (
    "vocab_size=2000",
    "depth=64",
    "lstm_units=64",
    "attention_units=64",
    "expert_hidden_dim=128",
    "max_minutes=0",
    "warmup_steps=50",
    "average_decay=0.99",
    "log_every=20",
    "dev_sentences=0",
)
GATES = {
    name: {
        "switch": ("experts_per_token=1",),
        "hierarchical": ("expert_groups=4", "groups_per_token=2"),
    }.get(name, ())
    # The paper's comes first: the others' times are over its own.
    for name in sorted(gating.GATES, key=lambda name: name != "noisy_top_k")
}
LOSS_WEIGHTS = (  # importance, load: the rows of the paper's table
    (0.0, 0.0),
    (0.2, 0.0),
    (0.0, 0.2),
    (0.1, 0.1),
    (0.01, 0.01),
    (1.0, 1.0),
)
TIMED_BATCHES = 4  # of a round, of several shapes


class Runs:
    """Trains the translator again and again, with other settings.

    Args:
        options: What was given on the command line.
    """

    def __init__(self, options):
        self.config = with_overrides(
            preset("multi30k"),
            [
                *SMALLER,
                f"steps={options.steps}",
                f"evaluate_every={options.steps}",
                f"save_every={options.steps}",
                f"pair={options.pair}",
                *options.set,
            ],
        )
        self._train, self._dev = (
            open_corpus(spec, options.pair, split)
            for spec, split in ((options.train, "train"), (options.dev, "dev"))
        )
        tokenizer = train_tokenizer(
            self._train.sentences(), self.config.model.vocab_size
        )
        self._subwords = tokenizer.model_proto
        size = tokenizer.vocab_size
        self.config = with_overrides(self.config, [f"vocab_size={size}"])

    def train(self, changes):
        """Trains one model.

        Args:
            changes: List of `"field=value"`.

        Returns:
            Its `Loop`, and a dict of what it came to.
        """
        config = with_overrides(self.config, changes)
        seed_everything(config.loop.seed)
        # To seed is to clear TensorFlow's kernels, and with them a tokenizer.
        tokenizer = Tokenizer(self._subwords)
        model = build_model(config)
        evaluation = _Evaluation(config, model, tokenizer, self._dev)
        task = Task(
            model,
            functools.partial(training_loss, smoothing=config.label_smoothing),
            training_batches(self._train, tokenizer, config.batches),
            evaluation,
            thresholds=config.verdicts,
        )
        with tempfile.TemporaryDirectory() as folder:
            loop = Loop(task, config.loop, folder, lambda line: None)
            loop.run()
        layers = evaluation.layers
        for name, verdict in loop.routing.verdicts.items():
            layers[name]["verdict"] = verdict.level
        return loop, {"perplexity": evaluation.perplexity, "layers": layers}

    def batches(self):
        """A few batches, always the same."""
        dataset = training_batches(
            self._train, Tokenizer(self._subwords), self.config.batches
        )
        return list(itertools.islice(dataset, TIMED_BATCHES))


class _Evaluation:
    """Perplexity on the dev corpus, and the routing of its tokens."""

    def __init__(self, config, model, tokenizer, corpus):
        self._model = model
        self._evaluate = DevEvaluation(config, model, tokenizer, corpus)
        self.perplexity, self.layers = None, {}

    def __call__(self, check):
        for layer in routing_layers(self._model):
            layer.reset_routing_statistics()
        metrics = self._evaluate(check)
        self.perplexity = metrics["perplexity"]
        for layer in routing_layers(self._model):
            figures = layer.routing_statistics()
            self.layers[layer.name] = {
                "cv_importance": figures.cv_importance,
                "cv_load": figures.cv_load,
                "max_over_mean_load": figures.max_over_mean_load,
                "spread": spread(figures.load, figures.tokens),
                "mean_k": figures.mean_k,
            }
        return metrics


def step_ratios(loops, batches, rounds):
    """Processor time of a training step over that of the first, by name.

    Args:
        loops: Dict from name to `Loop`.
        batches: List of batches, all of which make one round.
        rounds: int. Rounds that are timed.

    Returns:
        Dict from name to the median over rounds, and the first's seconds.
    """

    def steps(loop):
        step = TrainStep(
            loop.model, loop.task.loss, loop.optimizer, loop.config.clip_norm
        )

        def run():
            turn = iter(batches)
            for _ in batches:
                step(turn)

        return run

    times = interleaved_times(
        {name: steps(loop) for name, loop in loops.items()}, rounds
    )
    first = next(iter(times.values())).processor
    ratios = {
        name: statistics.median(
            own / base for own, base in zip(t.processor, first, strict=True)
        )
        for name, t in times.items()
    }
    return ratios, statistics.median(first) / len(batches)


def measure_gates(runs, rounds):
    """A row for each gate: what it came to, with the time of its step."""
    loops, rows = {}, {}
    print(head("gate"), flush=True)
    for name, changes in GATES.items():
        loops[name], rows[name] = runs.train([*changes, f"gate={name}"])
        print(line(name, rows[name]), flush=True)
    ratios, seconds = step_ratios(loops, runs.batches(), rounds)
    print(f"\na step of {next(iter(rows))}: {1000 * seconds:.0f} ms; over it")
    for name, ratio in ratios.items():
        rows[name]["step_ratio"] = ratio
        print(f"{name:14} {ratio:.2f}")
    return rows


def measure_losses(runs):
    """A row for each pair of weights."""
    rows = {}
    print(head("w_importance, w_load"), flush=True)
    for importance, load in LOSS_WEIGHTS:
        name = losses_name(importance, load)
        _, rows[name] = runs.train(
            [
                f"importance_loss_weight={importance}",
                f"load_loss_weight={load}",
            ]
        )
        print(line(name, rows[name]), flush=True)
    print("\n" + "\n".join(collapse_lines(rows)), flush=True)
    return rows


def losses_name(importance, load):
    """The name of a row of the losses."""
    return f"{importance:g}, {load:g}"


def collapse_lines(rows):
    """Says of each layer whether it collapses without losses only.

    Args:
        rows: Dict from name to row, of which one has no losses and one or
            more have both.

    Returns:
        List of lines of text, three for each layer.
    """
    limit = Thresholds().unbalanced_spread  # of the run without losses
    both = [rows[losses_name(*w)] for w in LOSS_WEIGHTS if all(w)]
    lines = []
    for layer, without in rows[losses_name(0.0, 0.0)]["layers"].items():
        parts = []
        for field, head in (
            ("spread", "spread of load"),
            ("max_over_mean_load", "max/mean load"),
        ):
            value = without[field]
            values = [row["layers"][layer][field] for row in both]
            parts.append(
                f"{head} {value:.3f} without losses, "
                f"{min(values):.3f} to {max(values):.3f} with both "
                f"({_times(value, statistics.median(values)):.2f} times the "
                "median)"
            )
        held = min(row["layers"][layer]["spread"] for row in both) >= limit
        if without["spread"] >= limit:
            verdict = "no collapse without losses"
        elif held:
            verdict = "COLLAPSE without losses, none with both"
        else:
            verdict = "collapse without losses, and with both as well"
        lines.append(f"{layer}: {verdict} (spread below {limit:g}).")
        lines += [f"  {part}" for part in parts]
    return lines


def _times(value, median):
    """How many times the median; a spread may be 0, after few steps."""
    if median:
        return value / median
    return math.inf if value else 1.0


COLUMNS = {
    "cv_importance": ("CV(importance)", "{:.3f}"),
    "cv_load": ("CV(load)", "{:.3f}"),
    "max_over_mean_load": ("max/mean load", "{:.2f}"),
    "mean_k": ("experts per token", "{:.2f}"),
    "verdict": ("verdict", "{}"),
}


def head(first):
    """The first two lines of a table of Markdown."""
    heads = [first, "perplexity", *(text for text, _ in COLUMNS.values())]
    return f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}"


def line(name, row):
    """A row as a line of Markdown; layers are divided by a slash."""
    cells = [name, f"{row['perplexity']:.2f}"]
    for field, (_, form) in COLUMNS.items():
        values = [layer.get(field, "-") for layer in row["layers"].values()]
        cells.append(" / ".join(form.format(value) for value in values))
    return f"| {' | '.join(cells)} |"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", choices=("gates", "losses"))
    parser.add_argument(
        "--train", required=True, help="corpus, as trainers.nmt"
    )
    parser.add_argument("--dev", required=True)
    parser.add_argument("--pair", default="en-de")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10, help="of timing")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--json", help="file for all figures")
    options = parser.parse_args(arguments)
    runs = Runs(options)
    if options.table == "gates":
        rows = measure_gates(runs, options.rounds)
    else:
        rows = measure_losses(runs)
    if options.json:
        values = {"config": dataclasses.asdict(runs.config), "rows": rows}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)


if __name__ == "__main__":
    main()
