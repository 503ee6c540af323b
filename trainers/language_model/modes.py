"""The modes of `trainers.lm`: from its flags to the functions that work."""

import sys

from trainers.engine.config.presets import preset_named
from trainers.engine.program.body import (
    average_mode,
    given_fields,
    run_mode,
    say,
)
from trainers.engine.program.output import write_groups
from trainers.engine.program.usage import TRAINING
from trainers.engine.worker_options import WorkerOptions
from trainers.language_model import task
from trainers.language_model.expert_study import study_experts
from trainers.language_model.folder import LmFolder
from trainers.language_model.masked_experts import check_masked, study_masked
from trainers.language_model.presets import PRESETS
from trainers.language_model.text_modes import (
    LineContinuer,
    LineScorer,
    Reranker,
    n_best_lists,
)
from translation.text.line_groups import line_groups


def run(mode, paths, flags):
    """Runs `trainers.lm` in one of `MODES`; see `run_mode`."""
    run_mode(MODES, _usual_folder, mode, paths, flags)


def _usual_folder(flags):
    return f"runs/lm-{flags.preset}"


def _train(model_dir, _, flags):
    changes = given_fields(flags, ("train", "dev", "test"))
    config = preset_named(PRESETS, flags.preset, changes)
    options = WorkerOptions.of_flags(flags)
    task.train_and_evaluate(config, model_dir, say, options)


def _evaluate(model_dir, _, flags):
    task.evaluate(model_dir, flags.test, flags.labels, say)


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


def _export(model_dir, _, flags):
    path = task.export(
        model_dir, flags.set, flags.export_precision, flags.max_length
    )
    say(path)


def _experts(model_dir, _, flags):
    if flags.masked:
        check_masked(flags.masked, flags.labels)
    study_experts(model_dir, flags.test, flags.labels, say)
    if flags.masked:
        study_masked(model_dir, flags.masked, flags.test, flags.labels, say)


MODES = {
    TRAINING: _train,
    "evaluate": _evaluate,
    "score": _score,
    "generate": _generate,
    "export": _export,
    "average": average_mode(LmFolder),
    "experts": _experts,
}
