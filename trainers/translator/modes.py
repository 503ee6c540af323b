"""The modes of `trainers.nmt`: from its flags to the functions that work."""

import functools
import sys

from trainers.engine.checkpoints.average import save_average
from trainers.engine.config.overrides import with_overrides
from trainers.engine.config.presets import preset_named
from trainers.engine.program.body import run_body
from trainers.engine.program.output import write_groups
from trainers.engine.program.usage import TRAINING
from trainers.engine.worker_options import WorkerOptions
from trainers.translator import task as translation_task
from trainers.translator.expert_study import study_experts
from trainers.translator.folder import ModelFolder
from trainers.translator.initial import started_from
from trainers.translator.presets import PRESETS
from trainers.translator.text_input import pair_groups, prefixed_groups
from trainers.translator.text_modes import LineTranslator, PairScorer
from translation.text.languages import parse_pair
from translation.text.line_groups import line_groups

_say = functools.partial(print, flush=True)


def run(mode, paths, flags):
    """Runs the program in one of its modes.

    Args:
        mode: str, one of `trainers.translator.usage.MODES`.
        paths: List of str, the arguments that are no flags.
        flags: Object with the values of all flags of `trainers.nmt` as
            attributes.

    Raises:
        SystemExit: as `run_body`.
    """
    body = functools.partial(_run, mode, paths, flags)
    run_body(body, flags.threads_per_operation)


def _run(mode, paths, flags):
    if mode == TRAINING:
        _train(flags)
        return
    model_dir = flags.model_dir or _usual_folder(flags, _config(flags))
    _check_pair(model_dir, flags.pair)
    MODES[mode](model_dir, paths, flags)


def _train(flags):
    config = _config(flags)
    model_dir = flags.model_dir or _usual_folder(flags, config)
    if flags.init_from:
        start = started_from(PRESETS[flags.preset], flags.init_from, model_dir)
        config = with_overrides(start, _overrides(flags))
    translation_task.train_and_evaluate(
        config,
        model_dir,
        _say,
        WorkerOptions.of_flags(flags),
    )


def _config(flags):
    return preset_named(PRESETS, flags.preset, _overrides(flags))


def _overrides(flags):
    names = ("pair", "train", "dev", "test", "references")
    given = {name: getattr(flags, name) for name in names}
    return [f"{n}={text}" for n, text in given.items() if text] + flags.set


def _usual_folder(flags, config):
    return f"runs/{flags.preset}-{config.pair}"


def _check_pair(model_dir, pair):
    """A trained model has its languages."""
    trained = ModelFolder(model_dir).load_config().pair
    if pair is not None and str(parse_pair(pair)) != trained:
        raise ValueError(
            f"The model in {model_dir} translates {trained}. "
            f"Received: --pair={pair}"
        )


def _evaluate(model_dir, _, flags):
    translation_task.evaluate(
        model_dir, flags.test, flags.set, _say, flags.references
    )


def _translate(model_dir, paths, flags):
    groups = line_groups(paths, sys.stdin.buffer)  # what is missing comes first
    if flags.prefixes:
        groups = prefixed_groups(groups)
    translate = LineTranslator(
        model_dir,
        flags.set,
        flags.ensemble,
        flags.ensemble_mean,
        flags.n_best,
        flags.alignments,
        flags.long_lines,
        flags.max_source_length,
    )
    write_groups(translate, groups)


def _score(model_dir, paths, flags):
    pair = ModelFolder(model_dir).load_config().pair
    groups = pair_groups(paths, pair, sys.stdin.buffer)
    score = PairScorer(
        model_dir,
        flags.set,
        flags.ensemble,
        flags.ensemble_mean,
        flags.max_source_length,
    )
    write_groups(score, groups)


def _export(model_dir, _, flags):
    path = translation_task.export(
        model_dir,
        flags.set,
        flags.ensemble,
        flags.ensemble_mean,
        flags.export_precision,
        flags.max_source_length,
    )
    _say(path)


def _average(model_dir, _, flags):
    save_average(ModelFolder(model_dir), flags.average_of, _say)


def _experts(model_dir, _, flags):
    study_experts(model_dir, flags.test, flags.labels, _say)


MODES = {
    "evaluate": _evaluate,
    "translate": _translate,
    "score": _score,
    "export": _export,
    "average": _average,
    "experts": _experts,
}
