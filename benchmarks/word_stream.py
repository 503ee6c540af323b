"""A billion words in files, read by workers that each have their own.

    python benchmarks/word_stream.py [--million_words=1000] [--workers=4]
        [--folder=FOLDER] [--preset=small_moe_256] [--set FIELD=VALUE ...]

Writes files of made-up text, all lines different, and learns a vocabulary of
them as `trainers.lm` does. Then so many workers, processes that find each other
on the loopback, read them by the trainer's own pipeline, every file once, until
all words have come out of it as batches. Between the parts of the text they
save their places as a checkpoint of training does. After a stop the same
command with the same `--folder` goes on: files that are there are not written
again, and the workers begin at their places. However the program is stopped,
its workers stop with it.

Last, a model of the preset is trained on the same batches for `--seconds`.
Words a second depend on what else the machine does; words for each second of
the processor's time do so less, and the ratio is of these.

Ends with code 1 if a worker's resident memory reaches 2 GB, its first batch
takes a minute or more, or the pipeline gives fewer than 20 times the words that
training takes.
"""

import argparse
import ctypes
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402  after the log level
import tensorflow as tf  # noqa: E402

from language_model.corpora import open_lines  # noqa: E402
from moe_keras.parallel.processes.workers import Workers  # noqa: E402
from trainers.engine.config.presets import preset_named  # noqa: E402
from trainers.engine.optimizer import OPTIMIZERS  # noqa: E402
from trainers.engine.train_step import TrainStep  # noqa: E402
from trainers.engine.worker_options import WorkerOptions  # noqa: E402
from trainers.language_model.folder import LmFolder, build_model  # noqa: E402
from trainers.language_model.presets import PRESETS  # noqa: E402
from trainers.language_model.task import (  # noqa: E402
    training_batches,
    training_loss,
)
from trainers.language_model.vocabulary import (  # noqa: E402
    make_vocabulary,
    with_vocabulary,
)
from translation.text.special_ids import EOS_ID  # noqa: E402

MOST_SECONDS = 60.0  # until the first batch
MOST_BYTES = 2e9  # resident
LEAST_RATIO = 20.0  # words of the pipeline for each that is trained on

WORDS_PER_LINE = 24
_PHRASE = 8  # words
_PHRASES = 50_000  # of which lines are made: 10^14 different ones
_FILE_WORDS = 2_500_000
_WORDS = 100_000  # different ones, the n-th as frequent as 1 / n
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_PR_SET_PDEATHSIG = 1  # of Linux' prctl


def word(rank):
    """A word of as many syllables as its rank takes.

    >>> word(0), word(3_000)
    ('ba', 'ziku')
    """
    syllables, count = "", len(_CONSONANTS) * len(_VOWELS)
    while True:
        rank, last = divmod(rank, count)
        vowel, consonant = divmod(last, len(_CONSONANTS))
        syllables = _CONSONANTS[consonant] + _VOWELS[vowel] + syllables
        if not rank:
            return syllables
        rank -= 1


def phrases():
    """Phrases of words by Zipf's law, alike in every process."""
    share = 1 / np.arange(1, _WORDS + 1)
    ranks = np.random.default_rng(0).choice(
        _WORDS, (_PHRASES, _PHRASE), p=share / share.sum()
    )
    words = [word(rank) for rank in range(_WORDS)]
    return [" ".join(words[rank] for rank in row) for row in ranks.tolist()]


def write_files(folder, words, workers):
    """Writes files of lines that have so many words, and a few more.

    There is a further file for each worker, so that none begins anew while
    words of the first pass are in its shuffle buffer.

    Args:
        folder: `pathlib.Path`. Files that are there already stay.
        words: int.
        workers: int. Each gets as many files as the others.
    """
    made = phrases()
    lines_of_file = min(_FILE_WORDS, words // workers) // WORDS_PER_LINE
    each = -(-words // (lines_of_file * WORDS_PER_LINE * workers))
    for number in range((each + 1) * workers):
        path = folder / f"text-{number:05}.txt"
        if path.exists():
            continue
        chosen = np.random.default_rng(number + 1).integers(
            _PHRASES, size=(lines_of_file, 3)
        )
        lines = (f"{made[a]} {made[b]} {made[c]}\n" for a, b, c in chosen)
        part = path.with_suffix(".part")
        part.write_text("".join(lines))
        part.rename(path)


def open_stream(folder, config, workers=None):
    """The vocabulary, and batches of the trainer's own pipeline."""
    run = LmFolder(folder / "run")
    vocabulary = run.load_vocabulary(config)
    corpus = open_lines(str(folder / "text-*.txt"))
    batches = training_batches(
        config, corpus, vocabulary, workers or Workers(), run, None
    )
    return vocabulary, batches


def count_words(batch):
    """How many words the lines have that end in a batch."""
    ends = int((batch["targets"].numpy() == EOS_ID).sum())
    return WORDS_PER_LINE * ends


def read(options, config):
    """Reads as one of the workers, and writes what it took.

    Args:
        options: Those of the program.
        config: `LmConfig`.
    """
    _stop_with_parent()
    workers = WorkerOptions(
        "multi_worker", cluster=options.cluster, index=options.index
    ).start()
    with workers:
        _, batches = open_stream(options.folder, config, workers)
        words = tf.Variable(0, dtype=tf.int64)  # of all workers
        saved = tf.train.CheckpointManager(
            tf.train.Checkpoint(batches=batches.state, words=words),
            options.folder / "places",
            max_to_keep=2,
        )
        if saved.restore_or_initialize():
            batches.state.scatter()
        own = count_words(next(batches))
        figures = {
            "first batch, s": time.time() - options.started,
            "processor s": time.process_time(),
            "begins at": int(words),
        }
        goal, start = options.million_words * 10**6, _clocks()
        part = goal / options.parts / workers.count
        total = 0
        while int(words) < goal:
            while own < part:
                own += count_words(next(batches))
            words.assign_add(sum(workers.all_gather(own)))
            total, own = total + own, 0
            batches.state.gather()
            if workers.is_chief:
                saved.save()
        wall, processor = (b - a for a, b in zip(start, _clocks(), strict=True))
        figures |= {
            "words": total,
            "words/s": total / max(wall, 1e-9),
            "words/processor s": total / max(processor, 1e-9),
            "resident, GB": _resident() / 1e9,
        }
    if total:  # else the figures of the run before stay
        path = options.folder / f"worker-{options.index}.json"
        path.write_text(json.dumps(figures))


def train(options, config):
    """Trains for some time on the batches, and writes what it took."""
    vocabulary, batches = open_stream(options.folder, config)
    config = with_vocabulary(config, vocabulary)
    model = build_model(config)
    optimizer = OPTIMIZERS[config.loop.optimizer](1e-3)
    optimizer.build(model.trainable_variables)
    step = TrainStep(
        model,
        training_loss,
        optimizer,
        config.loop.clip_norm,
        static_shapes=True,
    )
    for _ in range(5):  # graphs are built
        step(batches)
    words, start = 0, _clocks()
    while time.monotonic() - start[0] < options.seconds:
        _, used = step(batches)
        words += sum(map(count_words, used))
    wall, processor = (b - a for a, b in zip(start, _clocks(), strict=True))
    figures = {
        "words": words,
        "words/s": words / wall,
        "words/processor s": words / processor,
        "resident, GB": _resident() / 1e9,
    }
    (options.folder / "training.json").write_text(json.dumps(figures))


def _stop_with_parent():
    """Lets this process end as soon as the one that started it has.

    Left alone, workers would go on beside those of the next run, in the same
    folder.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _clocks():
    return time.monotonic(), time.process_time()


def _resident():
    """The most bytes that were resident so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def verdicts(reading, training):
    """Whether each requirement is met, by what it says.

    Args:
        reading: List of a dict of figures for each worker.
        training: dict of figures.

    Returns:
        dict of bool.
    """
    first = max(figures["first batch, s"] for figures in reading)
    resident = max(figures["resident, GB"] for figures in reading)
    speed = min(figures["words/processor s"] for figures in reading)
    ratio = speed / training["words/processor s"]
    return {
        f"first batch in {first:.1f} s at most": first < MOST_SECONDS,
        f"resident {resident:.2f} GB at most": 1e9 * resident < MOST_BYTES,
        f"the pipeline gives {ratio:.0f} times what training takes": (
            ratio >= LEAST_RATIO
        ),
    }


def table(reading, training):
    """Lines of a table: what each worker took, and training."""
    names = list(reading[0])
    yield f"| process | {' | '.join(names)} |"
    yield "| --- |" + len(names) * " --- |"
    rows = {f"worker {n}": figures for n, figures in enumerate(reading)}
    for name, figures in {**rows, "training": training}.items():
        cells = [_shown(figures[n]) if n in figures else "" for n in names]
        yield f"| {name} | {' | '.join(cells)} |"


def _shown(number):
    return f"{number:,.2f}" if number < 100 else f"{number:,.0f}"


def prepare(folder, options, config):
    """Leaves files and a vocabulary in the folder."""
    start = time.monotonic()
    write_files(folder, options.million_words * 10**6, options.workers)
    print(f"files in {time.monotonic() - start:.0f} s", flush=True)
    start = time.monotonic()
    corpus = open_lines(str(folder / "text-*.txt"))
    make_vocabulary(config, LmFolder(folder / "run"), corpus, print)
    print(f"vocabulary in {time.monotonic() - start:.0f} s", flush=True)


def run_all(folder, options):
    """Runs the workers, then training, in processes of their own.

    Returns:
        List of the workers' figures, and those of training.
    """
    addresses = ",".join(_addresses(options.workers))
    command = [sys.executable, *sys.argv, f"--folder={folder}"]
    own = [f"--cluster={addresses}", f"--started={time.time()}"]
    processes = [
        subprocess.Popen([*command, *own, f"--index={index}"])
        for index in range(options.workers)
    ]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit(f"error: workers ended with codes {codes}")
    subprocess.run([*command, "--train"], check=True)
    reading = [
        json.loads((folder / f"worker-{index}.json").read_text())
        for index in range(options.workers)
    ]
    return reading, json.loads((folder / "training.json").read_text())


def _addresses(count):
    servers = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return [f"localhost:{port}" for port in ports]


def _arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--million_words", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", type=pathlib.Path, help="kept; or a new")
    parser.add_argument("--preset", choices=PRESETS, default="small_moe_256")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--parts", type=int, default=20, help="of the text")
    parser.add_argument("--seconds", type=float, default=60, help="of training")
    # Of the processes that it starts.
    parser.add_argument("--cluster", help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = _arguments()
    config = preset_named(PRESETS, options.preset, options.set)
    if options.cluster:
        read(options, config)
        return
    if options.train:
        train(options, config)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, options, config)
        reading, training = run_all(folder, options)
    print(*table(reading, training), sep="\n")
    met = verdicts(reading, training)
    for what, is_met in met.items():
        print(f"{'ok    ' if is_met else 'FAILED'}  {what}")
    sys.exit(not all(met.values()))


if __name__ == "__main__":
    main()
