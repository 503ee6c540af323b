"""The modes of `trainers.lm`: from its flags to the functions that work."""

import functools

from trainers.engine.config.presets import preset_named
from trainers.engine.program.body import run_body
from trainers.engine.program.usage import TRAINING
from trainers.engine.worker_options import WorkerOptions
from trainers.language_model import task
from trainers.language_model.presets import PRESETS

_say = functools.partial(print, flush=True)


def run(mode, flags):
    """Runs the program in one of its modes.

    Args:
        mode: str, one of `trainers.language_model.usage.MODES`.
        flags: Object with the values of all flags of `trainers.lm` as
            attributes.

    Raises:
        SystemExit: as `run_body`.
    """
    body = functools.partial(_run, mode, flags)
    run_body(body, flags.threads_per_operation)


def _run(mode, flags):
    model_dir = flags.model_dir or f"runs/lm-{flags.preset}"
    if mode == TRAINING:
        names = ("train", "dev", "test")
        given = {name: getattr(flags, name) for name in names}
        overrides = [f"{name}={text}" for name, text in given.items() if text]
        config = preset_named(PRESETS, flags.preset, overrides + flags.set)
        options = WorkerOptions.of_flags(flags)
        task.train_and_evaluate(config, model_dir, _say, options)
    elif mode == "evaluate":
        task.evaluate(model_dir, flags.test, flags.labels, _say)
    else:
        task.average(model_dir, flags.average_of, _say)
