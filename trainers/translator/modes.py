"""The modes of `trainers.nmt`: from its flags to the functions that work."""

import functools
import sys

from trainers.engine.config.overrides import with_overrides
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
from trainers.translator import task as translation_task
from trainers.translator.asked_directions import AskedDirections
from trainers.translator.expert_study import study_experts
from trainers.translator.folder import ModelFolder
from trainers.translator.initial import started_from
from trainers.translator.presets import PRESETS
from trainers.translator.text_input import (
    columned_groups,
    pair_groups,
    targeted_pairs,
)
from trainers.translator.text_modes import LineTranslator, PairScorer
from translation.text.directions import parse_directions
from translation.text.line_groups import line_groups

_FIELDS = ("pair", "train", "dev", "test", "references")


def run(mode, paths, flags):
    """Runs `trainers.nmt` in one of `MODES`; see `run_mode`."""
    run_mode(MODES, _usual_folder, mode, paths, flags)


def _usual_folder(flags):
    directions = parse_directions(_config(flags).pair)
    if directions.is_one:
        return f"runs/{flags.preset}-{directions}"
    return f"runs/{flags.preset}-{'_'.join(directions.languages)}"


def _config(flags):
    return preset_named(PRESETS, flags.preset, given_fields(flags, _FIELDS))


def _train(model_dir, _, flags):
    config = _config(flags)
    if flags.init_from:
        start = started_from(PRESETS[flags.preset], flags.init_from, model_dir)
        config = with_overrides(start, given_fields(flags, _FIELDS))
    options = WorkerOptions.of_flags(flags)
    translation_task.train_and_evaluate(config, model_dir, say, options)


def _of_its_pair(mode):
    """A mode of a trained model, which has its languages."""

    @functools.wraps(mode)
    def checked(model_dir, paths, flags):
        pair, trained = flags.pair, ModelFolder(model_dir).load_config().pair
        if pair is not None and {*parse_directions(pair)} != {
            *parse_directions(trained)
        }:
            raise ValueError(
                f"The model in {model_dir} translates {trained}. "
                f"Received: --pair={pair}"
            )
        mode(model_dir, paths, flags)

    return checked


def _evaluate(model_dir, _, flags):
    translation_task.evaluate(
        model_dir,
        flags.test,
        flags.set,
        say,
        flags.references,
        flags.pair,
        flags.zero_shot,
    )


def _asked(model_dir, flags):
    """What `--source`, `--target` and their like say; see `AskedDirections`."""
    return AskedDirections(
        ModelFolder(model_dir).load_config().pair,
        flags.source,
        flags.target,
        flags.target_column,
        flags.zero_shot,
        functools.partial(print, file=sys.stderr, flush=True),
    )


def _translate(model_dir, paths, flags):
    asked = _asked(model_dir, flags)  # what is wrong or missing comes first
    groups = line_groups(paths, sys.stdin.buffer)
    if flags.prefixes or flags.target_column:
        target_of = asked.of_column if flags.target_column else None
        groups = columned_groups(groups, flags.prefixes, target_of)
    translate = LineTranslator(
        model_dir,
        flags.set,
        flags.ensemble,
        flags.ensemble_mean,
        flags.n_best,
        flags.alignments,
        flags.long_lines,
        flags.max_source_length,
        target=asked.target,
    )
    write_groups(translate, groups)
    asked.tell_untrained()


def _score(model_dir, paths, flags):
    asked = _asked(model_dir, flags)
    if flags.target_column:
        groups = line_groups(paths, sys.stdin.buffer)
        groups = targeted_pairs(groups, asked.of_column)
    else:
        groups = pair_groups(paths, asked.pair, sys.stdin.buffer)
    score = PairScorer(
        model_dir,
        flags.set,
        flags.ensemble,
        flags.ensemble_mean,
        flags.max_source_length,
        target=asked.target,
    )
    write_groups(score, groups)
    asked.tell_untrained()


def _export(model_dir, _, flags):
    path = translation_task.export(
        model_dir,
        flags.set,
        flags.ensemble,
        flags.ensemble_mean,
        flags.export_precision,
        flags.max_source_length,
    )
    say(path)


def _experts(model_dir, _, flags):
    study_experts(model_dir, flags.test, flags.labels, say)


_OF_A_MODEL = {
    "translate": _translate,
    "score": _score,
    "export": _export,
    "average": average_mode(ModelFolder),
    "experts": _experts,
}
MODES = {
    TRAINING: _train,
    "evaluate": _evaluate,  # of some of its directions, perhaps
    **{name: _of_its_pair(mode) for name, mode in _OF_A_MODEL.items()},
}
