"""The modes of `trainers.lm`: from its flags to the functions that work."""

import functools
import sys

from trainers.engine.checkpoints.average import save_average
from trainers.engine.config.presets import preset_named
from trainers.engine.program.body import run_body
from trainers.engine.program.output import write_groups
from trainers.engine.program.usage import TRAINING
from trainers.engine.worker_options import WorkerOptions
from trainers.language_model import task
from trainers.language_model.expert_study import study_experts
from trainers.language_model.folder import LmFolder
from trainers.language_model.presets import PRESETS
from trainers.language_model.text_modes import (
    LineContinuer,
    LineScorer,
    Reranker,
    n_best_lists,
)
from translation.text.line_groups import line_groups

_say = functools.partial(print, flush=True)


def run(mode, paths, flags):
    """Runs the program in one of its modes.

    Args:
        mode: str, one of `trainers.language_model.usage.MODES`.
        paths: List of str, the arguments that are no flags.
        flags: Object with the values of all flags of `trainers.lm` as
            attributes.

    Raises:
        SystemExit: as `run_body`.
    """
    body = functools.partial(_run, mode, paths, flags)
    run_body(body, flags.threads_per_operation)


def _run(mode, paths, flags):
    model_dir = flags.model_dir or f"runs/lm-{flags.preset}"
    if mode == TRAINING:
        _train(model_dir, flags)
    else:
        MODES[mode](model_dir, paths, flags)


def _train(model_dir, flags):
    names = ("train", "dev", "test")
    given = {name: getattr(flags, name) for name in names}
    overrides = [f"{name}={text}" for name, text in given.items() if text]
    config = preset_named(PRESETS, flags.preset, overrides + flags.set)
    options = WorkerOptions.of_flags(flags)
    task.train_and_evaluate(config, model_dir, _say, options)


def _evaluate(model_dir, _, flags):
    task.evaluate(model_dir, flags.test, flags.labels, _say)


def _score(model_dir, paths, flags):
    groups = line_groups(paths, sys.stdin.buffer)  # what is missing comes first
    score = LineScorer(model_dir)
    if flags.rerank is not None:
        score, groups = Reranker(score, flags.rerank), n_best_lists(groups)
    write_groups(score, groups)


def _generate(model_dir, paths, flags):
    groups = line_groups(paths, sys.stdin.buffer)
    continue_lines = LineContinuer(model_dir, flags.set, flags.samples)
    write_groups(continue_lines, groups)


def _average(model_dir, _, flags):
    save_average(LmFolder(model_dir), flags.average_of, _say)


def _experts(model_dir, _, flags):
    study_experts(model_dir, flags.test, flags.labels, _say)


MODES = {
    "evaluate": _evaluate,
    "score": _score,
    "generate": _generate,
    "average": _average,
    "experts": _experts,
}
