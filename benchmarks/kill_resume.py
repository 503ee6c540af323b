"""Kills training again and again, and looks for what was lost.

    python benchmarks/kill_resume.py --kills=20
    python benchmarks/kill_resume.py --kills=20 --task=lm

A small translator, or language model, is trained twice on files of the
phrasebook: once left
alone, and once killed with SIGKILL, in turn while it trains, while it saves
and while it evaluates, at a moment drawn at random. After each kill its
folder is moved and the same command given again. In the end everything that
the last checkpoints of both hold is compared bit for bit: weights, their
moving average, Adam's moments, random states, best score and all counters; and
so are the best checkpoints, with their steps and scores. (Seconds are left out,
and so is the place in the data as such: after it both have drawn the same
batches, or the weights would differ.)

Prints each kill with the steps that it cost, and all differences; ends with
code 1 if there is any.
"""

import argparse
import collections
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

import tensorflow as tf

from trainers.engine.checkpoints.best import best_folder
from translation.text.corpora.corpus import open_corpus

PHASES = ("training", "saving", "evaluating")
_POLL = 0.001  # seconds
# What it may take until a program has started, or has written its next line.
_PATIENCE = 1800.0

# Small sizes, of `trainers.nmt`.
SETTINGS = (
    "vocab_size=400",
    "depth=16",
    "lstm_units=16",
    "num_experts=4",
    "expert_hidden_dim=16",
    "attention_units=16",
    "tokens_per_batch=128",
    "shuffle_buffer=200",
    "dev_sentences=4",  # so that a kill can fall into a beam search
    "beam_width=2",
    "log_every=1",
    "keep_best=2",
)
# And of `trainers.lm`: what a sampled softmax draws, and the state that rows
# carry from batch to batch, have to come back as well.
LM_SETTINGS = (
    "vocab_size=400",
    "depth=16",
    "lstm_units=16",
    "num_experts=4",
    "expert_hidden_dim=16",
    "softmax=sampled",
    "sampled_candidates=50",
    "rows=4",
    "time_steps=8",
    "window=5",
    "shuffle_buffer=50",
    "dev_lines=100",
    "log_every=1",
    "keep_best=2",
)


class Kill(NamedTuple):
    """What a kill has met."""

    phase: str  # one of PHASES
    step: int  # the last one that the program had told of
    lost: int  # steps since the last whole checkpoint


class Program:
    """A training program, watched from outside.

    It prints `step N/...` after every step and keeps its checkpoints in
    `FOLDER/checkpoints` and `FOLDER/best`.

    Args:
        command: List of str.
        folder: `pathlib.Path`.
        evaluate_every: int. Steps between evaluations.
    """

    def __init__(self, command, folder, evaluate_every):
        self._folder = folder
        self._evaluate_every = evaluate_every
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines = collections.deque(maxlen=20)
        self.steps = 0  # lines of steps so far
        self._told = 0  # the step of the last of them
        self._is_evaluating = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.append(line)
            words = line.split()
            if words[:1] == ["step"]:
                self._told = int(words[1].split("/")[0])
                self._is_evaluating = self._told % self._evaluate_every == 0
                self.steps += 1
            elif words[:1] == ["dev"]:
                self._is_evaluating = False

    def wait_for(self, condition):
        """Waits until `condition()`; the program must not end before.

        Raises:
            RuntimeError: if it does, with its last lines.
        """
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                self._reader.join()
                raise RuntimeError(
                    "The program has ended, or stands still:\n"
                    + "".join(self._lines)
                )
            time.sleep(_POLL)

    def is_in(self, phase):
        """Whether it seems to be in a phase."""
        return phase == self._phase()

    def has_saved(self, step):
        """Whether its checkpoint of a step is whole."""
        return (self._folder / f"checkpoints/step-{step}").exists()

    def kill(self):
        """Kills it, and says as a `Kill` what it was about."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        names = [p.name for p in self._folder.glob("checkpoints/step-*")]
        saved = [int(n.split("-")[1]) for n in names if not n.endswith(".new")]
        return Kill(
            self._phase(), self._told, self._told - max(saved, default=0)
        )

    def _phase(self):
        if any(self._folder.glob("checkpoints/*.new")):
            return "saving"
        return "evaluating" if self._is_evaluating else "training"


def run_alone(command, folder, steps, evaluate_every):
    """Runs a program until its last checkpoint is there.

    Args:
        command: Function of a folder that returns a list of str.
        folder: `pathlib.Path`.
        steps: int. The last step.
        evaluate_every: int.

    Returns:
        The path of that checkpoint.
    """
    program = Program(command(folder), folder, evaluate_every)
    program.wait_for(lambda: program.has_saved(steps))
    program.kill()
    return folder / f"checkpoints/step-{steps}"


def run_killed(
    command, folder, steps, evaluate_every, kills, seed=0, on_kill=print
):
    """The same, but killed and moved so many times on the way.

    Args:
        kills: int.
        seed: int. Of the moments.
        on_kill: Function that is given each `Kill`.

    Returns:
        The path of the last checkpoint, and the list of kills. There are
        fewer if the program has come to its end before.
    """
    moments = random.Random(seed)
    done = []
    while len(done) < kills:
        phase = PHASES[len(done) % len(PHASES)]
        program = Program(command(folder), folder, evaluate_every)
        lived = moments.randint(1, 2 * evaluate_every)
        program.wait_for(
            lambda: (
                program.has_saved(steps)  # noqa: B023  called within the turn
                or (program.steps >= lived and program.is_in(phase))  # noqa: B023
            )
        )
        is_over = program.has_saved(steps)
        time.sleep(0.05 * moments.random())
        done.append(program.kill())
        on_kill(done[-1])
        moved = folder.with_name(f"{folder.name}+")
        folder = folder.rename(moved)
        if is_over:
            break
    return run_alone(command, folder, steps, evaluate_every), done


def differences(checkpoint, other):
    """Names of the tensors that two checkpoints do not have in common.

    Args:
        checkpoint: `pathlib.Path`, the folder of one.
        other: The same of the other.

    Returns:
        `(names, count)`: those that differ, and how many were compared.
    """
    readers = [
        tf.train.load_checkpoint(str(path / "ckpt"))
        for path in (checkpoint, other)
    ]
    names = [set(reader.get_variable_to_dtype_map()) for reader in readers]
    compared = {
        name
        for name in names[0] & names[1]
        if "seconds" not in name
        and "batches/" not in name
        and not name.startswith("_")
    }
    differing = [
        name
        for name in sorted(compared)
        if _bytes(readers[0], name) != _bytes(readers[1], name)
    ]
    return [*sorted(names[0] ^ names[1]), *differing], len(compared)


def best_differences(run, other):
    """The same for the best checkpoints of two runs.

    Args:
        run: `pathlib.Path`, the model folder of one.
        other: The same of the other.

    Returns:
        `(names, count)` as `differences`. A step that only one of them has
        kept, or another score of it, counts as one that differs.
    """
    ours, theirs = (
        {stored.step: stored for stored in best_folder(path).stored()}
        for path in (run, other)
    )
    names, count = [], 0
    for step in sorted({*ours} ^ {*theirs}):
        names.append(f"best/step-{step}")
    for step in sorted({*ours} & {*theirs}):
        pair = ours[step], theirs[step]
        if len({stored.about["score"] for stored in pair}) > 1:
            names.append(f"best/step-{step}: score")
        differing, compared = differences(*(stored.path for stored in pair))
        names += [f"best/step-{step}: {name}" for name in differing]
        count += compared
    return names, count


def _bytes(reader, name):
    value = reader.get_tensor(name)
    return value if isinstance(value, bytes) else value.tobytes()


def translator_command(data, steps, evaluate_every, save_every, settings):
    """The command that trains a small translator, as a function of a folder."""
    paths = {split: data / split for split in ("train", "dev")}
    every = evaluate_every, save_every
    settings = (*SETTINGS, *settings)
    return _command("trainers.nmt", paths, steps, every, settings)


def language_model_command(data, steps, evaluate_every, save_every, settings):
    """The same for a small language model, of the English side."""
    paths = {split: data / f"{split}.en" for split in ("train", "dev")}
    every = evaluate_every, save_every
    settings = (*LM_SETTINGS, *settings)
    return _command("trainers.lm", paths, steps, every, settings)


COMMANDS = {"nmt": translator_command, "lm": language_model_command}


def _command(program, paths, steps, every, settings):
    evaluate_every, save_every = every
    settings = (
        *settings,
        f"steps={steps}",
        f"evaluate_every={evaluate_every}",
        f"save_every={save_every}",
    )

    def command(folder):
        return [
            sys.executable,
            "-m",
            program,
            f"--model_dir={folder}",
            *(f"--{split}={path}" for split, path in paths.items()),
            f"--test={paths['dev']}",
            *(f"--set={setting}" for setting in settings),
        ]

    return command


def write_corpora(folder):
    """Files of the phrasebook: 400 pairs to train on, 100 to evaluate."""
    for split, size in (("train", 400), ("dev", 100)):
        pairs = list(open_corpus(f"phrasebook:{size}", "en-fr", split).pairs())
        for column, language in enumerate(("en", "fr")):
            text = "".join(f"{pair[column]}\n" for pair in pairs)
            path = folder / f"{split}.{language}"
            path.write_text(text, encoding="utf-8")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--task", choices=COMMANDS, default="nmt")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluate_every", type=int, default=7)
    parser.add_argument("--save_every", type=int, default=5)
    parser.add_argument(
        "--set", action="append", default=[], help="as of the program"
    )
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    every = arguments.evaluate_every
    steps = every * (arguments.kills + 2)
    with tempfile.TemporaryDirectory() as scratch:
        data = pathlib.Path(scratch)
        write_corpora(data)
        command = COMMANDS[arguments.task](
            data, steps, every, arguments.save_every, arguments.set
        )
        alone = run_alone(command, data / "alone", steps, every)
        killed, kills = run_killed(
            command,
            data / "killed",
            steps,
            every,
            arguments.kills,
            arguments.seed,
            lambda kill: print(
                f"killed while {kill.phase:11} at step {kill.step:5}, "
                f"{kill.lost} steps lost",
                flush=True,
            ),
        )
        differing, count = differences(alone, killed)
        of_best = best_differences(alone.parents[1], killed.parents[1])
        differing, count = differing + of_best[0], count + of_best[1]
    met = collections.Counter(kill.phase for kill in kills)
    print(
        f"{len(kills)} kills ({', '.join(f'{n} {p}' for p, n in met.items())}),"
        f" {sum(kill.lost for kill in kills)} steps lost and done again; "
        f"of {count} tensors after step {steps} and in the best checkpoints, "
        f"{len(differing)} differ."
    )
    for name in differing:
        print(f"  {name}")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
