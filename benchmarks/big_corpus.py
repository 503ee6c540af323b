"""A corpus that does not fit in memory: generated, filtered, read, trained on.

    python benchmarks/big_corpus.py [--pairs=5_000_000] [--folder=FOLDER]

Writes `FOLDER/big.en` and `big.fr`: pairs of phrasebook sentences, all
different, one in a hundred spoilt in one of six ways, so that it is known what
each filter has to find. Then, in a process of its own that starts from the
files and a ready vocabulary:

1. every filter runs, and the first training batch is made;
2. the pipeline alone is timed;
3. the place in the data is saved, and a new iterator restored from it;
4. the translator of a preset is trained on the same batches, timed too.

Prints what was found, with processor seconds beside those of the clock, which
other work on the machine disturbs less. Ends with code 1 if a filter's count is
wrong, the restored iterator goes on with other batches, the first batch takes a
minute or more, memory reaches 2 GB before training, or the pipeline alone gives
fewer than 20 times the target tokens that training takes.
"""

import argparse
import functools
import itertools
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # noqa: E402  after the log level

from trainers.engine.config.overrides import with_overrides  # noqa: E402
from trainers.engine.optimizer import FusedAdam  # noqa: E402
from trainers.engine.train_step import TrainStep  # noqa: E402
from trainers.translator.folder import build_model  # noqa: E402
from trainers.translator.presets import preset  # noqa: E402
from trainers.translator.task import training_loss  # noqa: E402
from translation.phrasebook.corpus import phrasebook  # noqa: E402
from translation.text.corpora.corpus import open_corpus  # noqa: E402
from translation.text.corpora.pair_filters import FilterOptions  # noqa: E402
from translation.text.input_pipeline import training_batches  # noqa: E402
from translation.text.special_ids import PAD_ID  # noqa: E402
from translation.text.tokenizer.tokenizer import Tokenizer  # noqa: E402
from translation.text.tokenizer.training import train_tokenizer  # noqa: E402

MOST_SECONDS = 60.0  # until the first batch
MOST_BYTES = 2e9  # resident, before training
LEAST_RATIO = 20.0  # tokens of the pipeline alone for each trained on

FILTERS = FilterOptions(
    max_characters=400,
    max_ratio=4.0,
    drop_identical=True,
    min_script_share=0.5,
    drop_duplicates=True,
)
# What is done to one pair in a hundred, in turn, and the word of the report
# that tells of it.
SPOILERS = {
    "empty side": lambda source, target: (source, ""),
    "characters": lambda source, target: (source * 40, target * 40),
    "times as long": lambda source, target: (source, "Oui."),
    "alike": lambda source, target: (source, source),
    "script": lambda source, target: (source, _in_cyrillic(target)),
    "seen before": None,  # the pair before it comes again
}
_SPOILT_EVERY = 100
_STRIDE = 2_654_435_761  # a prime: numbers times it meet every pair once


def _in_cyrillic(text):
    return text.translate({c: 0x430 + c % 32 for c in range(ord("a"), 256)})


def generate(folder, count, pool_size=10_000):
    """Writes the corpus, and how many pairs each filter has to find."""
    pool = phrasebook(pool_size)
    found = dict.fromkeys(SPOILERS, 0)
    with (
        open(folder / "big.en", "w", encoding="utf-8") as english,
        open(folder / "big.fr", "w", encoding="utf-8") as french,
    ):
        before = None
        for number in range(count):
            first, second = divmod(number * _STRIDE % pool_size**2, pool_size)
            a, b = pool[first], pool[second]
            pair = f"{a.english} {b.english}", f"{a.french} {b.french}"
            if number % _SPOILT_EVERY == _SPOILT_EVERY - 1:
                kinds = list(SPOILERS)
                kind = kinds[number // _SPOILT_EVERY % len(kinds)]
                spoil = SPOILERS[kind]
                pair = spoil(*pair) if spoil else before
                found[kind] += 1
            before = pair
            english.write(pair[0] + "\n")
            french.write(pair[1] + "\n")
    (folder / "spoilt.json").write_text(json.dumps([count, found]))


def prepare(folder, count, config):
    """The corpus and its vocabulary, unless they are there."""
    known = folder / "spoilt.json"
    if not known.exists() or json.loads(known.read_text())[0] != count:
        start = time.monotonic()
        generate(folder, count)
        print(f"generated {count:,} pairs in {time.monotonic() - start:.0f} s")
        (folder / "big.model").unlink(missing_ok=True)
    if not (folder / "big.model").exists():
        start = time.monotonic()
        corpus = open_corpus(str(folder / "big"), "en-fr")
        sample = corpus.sample(100_000, seed=1)
        print(f"sampled sentences in {time.monotonic() - start:.0f} s")
        train_tokenizer(sample, config.model.vocab_size).save(
            folder / "big.model"
        )
        print(f"vocabulary in {time.monotonic() - start:.0f} s")


def resident_bytes():
    """The most that was resident so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def tokens_per_second(step, seconds):
    """Calls `step`, which returns a number of tokens, for so long."""
    tokens, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        tokens += step()
    return tokens / (time.monotonic() - start)


def read(folder, config, seconds, started):
    """Everything that is measured, in a process of its own.

    Args:
        folder: `pathlib.Path` of the corpus and its vocabulary.
        config: `NmtConfig`.
        seconds: float. How long to time the pipeline, and training.
        started: float. When the process was started, `time.time()`.

    Returns:
        dict of figures.
    """
    corpus = open_corpus(str(folder / "big"), "en-fr", filters=FILTERS)
    corpus.check()
    (report,) = corpus.reports()
    print(*report.lines(), sep="\n")
    figures = {
        "filters_s": time.time() - started,
        "dropped": report.dropped,
    }
    tokenizer = Tokenizer.load(folder / "big.model")
    batches = iter(training_batches(corpus, tokenizer, config.batches))
    next(batches)
    figures["first_batch_s"] = time.time() - started
    figures["first_batch_processor_s"] = time.process_time()

    def target_tokens():
        targets = next(batches)["target_out"].numpy()
        return int((targets != PAD_ID).sum())

    figures["pipeline_tokens_s"] = tokens_per_second(target_tokens, seconds)
    figures |= resume(folder, batches, corpus, tokenizer, config)
    figures["resident_bytes"] = resident_bytes()
    step = make_step(config, tokenizer)
    for _ in range(20):  # graphs for new shapes are built
        step(batches)
    figures["training_tokens_s"] = tokens_per_second(
        lambda: step(batches)[0].examples, seconds
    )
    figures["resident_bytes_training"] = resident_bytes()
    return figures


def resume(folder, batches, corpus, tokenizer, config, count=50):
    """Saves the place in the data, and goes on from it in a new iterator."""
    start = time.monotonic()
    path = tf.train.Checkpoint(batches=batches).write(str(folder / "place"))
    saved = time.monotonic() - start
    files = list(folder.glob("place.*"))
    size = sum(file.stat().st_size for file in files)
    anew = iter(training_batches(corpus, tokenizer, config.batches))
    start = time.monotonic()
    tf.train.Checkpoint(batches=anew).read(path)
    restored = time.monotonic() - start
    same = sum(
        all(bool(tf.reduce_all(a[name] == b[name])) for name in a)
        if all(a[name].shape == b[name].shape for name in a)
        else False
        for a, b in zip(_take(batches, count), _take(anew, count), strict=True)
    )
    for file in files:
        file.unlink()
    return {
        "place_save_s": saved,
        "place_restore_s": restored,
        "place_bytes": size,
        "resumed_batches_same": same / count,
    }


def _take(items, count):
    return itertools.islice(items, count)


def make_step(config, tokenizer):
    """The training step of a fresh translator."""
    size = f"vocab_size={tokenizer.vocab_size}"
    model = build_model(with_overrides(config, [size]))
    optimizer = FusedAdam(config.loop.learning_rate)
    optimizer.build(model.trainable_variables)
    loss = functools.partial(training_loss, smoothing=config.label_smoothing)
    return TrainStep(model, loss, optimizer, config.loop.clip_norm)


def verdicts(figures, expected):
    """Whether each requirement is met, by name."""
    counts = {
        kind: sum(n for why, n in figures["dropped"].items() if kind in why)
        for kind in expected
    }
    ratio = figures["pipeline_tokens_s"] / figures["training_tokens_s"]
    return {
        f"filters found {counts}": counts == expected,
        "the restored iterator goes on alike": (
            figures["resumed_batches_same"] == 1
        ),
        f"first batch in {figures['first_batch_s']:.1f} s": (
            figures["first_batch_s"] < MOST_SECONDS
        ),
        f"resident {figures['resident_bytes'] / 1e9:.2f} GB": (
            figures["resident_bytes"] < MOST_BYTES
        ),
        f"pipeline gives {ratio:.0f} times what training takes": (
            ratio >= LEAST_RATIO
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--folder", type=pathlib.Path, help="kept; or a new")
    parser.add_argument("--preset", default="multi30k")
    parser.add_argument("--seconds", type=float, default=30.0, help="of timing")
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    config = preset(options.preset)
    if options.started:  # the process that is measured
        figures = read(options.folder, config, options.seconds, options.started)
        (options.folder / "figures.json").write_text(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, options.pairs, config)
        given = [f"--folder={folder}", f"--started={time.time()}"]
        command = [sys.executable, *sys.argv, *given]
        subprocess.run(command, check=True)
        figures = json.loads((folder / "figures.json").read_text())
        _, expected = json.loads((folder / "spoilt.json").read_text())
    for name, value in figures.items():
        if name != "dropped":
            print(f"{name:26}{value:18,.1f}")
    met = verdicts(figures, expected)
    for what, is_met in met.items():
        print(f"{'ok    ' if is_met else 'FAILED'}  {what}")
    sys.exit(not all(met.values()))


if __name__ == "__main__":
    main()
