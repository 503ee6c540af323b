"""The modes of `trainers.nmt`: from its flags to the functions that work."""

import functools
import sys

import tensorflow as tf
from absl import logging

from moe_keras.parallel.processes.cluster import (
    cluster_of,
    cluster_of_environment,
)
from moe_keras.parallel.processes.strategies import start_workers
from trainers.engine.exit_codes import exit_codes
from trainers.engine.overrides import with_overrides
from trainers.translator import task as translation_task
from trainers.translator.expert_study import study_experts
from trainers.translator.folder import ModelFolder
from trainers.translator.presets import preset
from trainers.translator.text_modes import (
    LineTranslator,
    PairScorer,
    line_groups,
    pair_groups,
)
from trainers.usage import TRAINING
from translation.text.languages import parse_pair

_say = functools.partial(print, flush=True)


def run(mode, paths, flags):
    """Runs the program in one of its modes.

    Args:
        mode: str, one of `trainers.usage.MODES`.
        paths: List of str, the arguments that are no flags.
        flags: Object with the values of all flags of `trainers.nmt` as
            attributes.

    Raises:
        SystemExit: as `exit_codes`.
    """
    logging.set_verbosity(logging.WARNING)
    tf.get_logger().setLevel("ERROR")  # retracing for new shapes is intended
    threads = flags.threads_per_operation
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    with exit_codes():
        if mode in TRAINING:
            _train(flags)
            return
        model_dir = flags.model_dir or _usual_folder(flags, _config(flags))
        _check_pair(model_dir, flags.pair)
        MODES[mode](model_dir, paths, flags)


def _train(flags):
    config = _config(flags)
    translation_task.train_and_evaluate(
        config,
        flags.model_dir or _usual_folder(flags, config),
        _say,
        functools.partial(_start_workers, flags),
    )


def _config(flags):
    names = ("pair", "train", "dev", "test")
    given = {name: getattr(flags, name) for name in names}
    overrides = [f"{name}={text}" for name, text in given.items() if text]
    return with_overrides(preset(flags.preset), overrides + flags.set)


def _usual_folder(flags, config):
    return f"runs/{flags.preset}-{config.pair}"


def _start_workers(flags, about):
    cluster = None
    if flags.cluster:
        index = flags.index
        if index is None and flags.mesh_shape:
            index = 0  # the others run no program
        cluster = cluster_of(flags.cluster, index)
    elif flags.strategy == "multi_worker":
        cluster = cluster_of_environment()
    return start_workers(
        flags.strategy,
        flags.devices,
        cluster,
        flags.layout,
        about,
        flags.mesh_shape,
    )


def _check_pair(model_dir, pair):
    """A trained model has its languages."""
    trained = ModelFolder(model_dir).load_config().pair
    if pair is not None and str(parse_pair(pair)) != trained:
        raise ValueError(
            f"The model in {model_dir} translates {trained}. "
            f"Received: --pair={pair}"
        )


def _evaluate(model_dir, _, flags):
    translation_task.evaluate(model_dir, flags.test, flags.set, _say)


def _translate(model_dir, paths, flags):
    groups = line_groups(paths, sys.stdin.buffer)  # what is missing comes first
    translate = LineTranslator(
        model_dir,
        flags.set,
        flags.ensemble,
        flags.ensemble_mean,
        flags.n_best,
        flags.alignments,
    )
    _filter(translate, groups)


def _score(model_dir, paths, flags):
    pair = ModelFolder(model_dir).load_config().pair
    groups = pair_groups(paths, pair, sys.stdin.buffer)
    score = PairScorer(
        model_dir, flags.set, flags.ensemble, flags.ensemble_mean
    )
    _filter(score, groups)


def _filter(function, groups):
    """Writes what comes out for each group before it reads on."""
    for group in groups:
        lines = "".join(f"{line}\n" for line in function(group))
        sys.stdout.buffer.write(lines.encode())
        sys.stdout.buffer.flush()


def _export(model_dir, _, flags):
    path = translation_task.export(
        model_dir,
        flags.set,
        flags.ensemble,
        flags.ensemble_mean,
        flags.export_precision,
    )
    _say(path)


def _average(model_dir, _, flags):
    translation_task.average(model_dir, flags.average_of, _say)


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
