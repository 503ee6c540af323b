"""The body of a program, once its flags are known to be right."""

import functools

import tensorflow as tf
from absl import logging

from trainers.engine.checkpoints.average import save_average
from trainers.engine.program.exit_codes import exit_codes

say = functools.partial(print, flush=True)


def run_mode(modes, usual_folder, mode, paths, flags):
    """Runs a program in one of its modes.

    Quietly, with as many threads as `--threads_per_operation` says, and with
    errors that users can mend as one line: see `exit_codes`.

    Args:
        modes: dict by the name of a mode: a function of the model folder (a
            str), `paths` and `flags`.
        usual_folder: Function of `flags` that returns the model folder where
            `--model_dir` is not given.
        mode: str.
        paths: List of str, the arguments that are no flags.
        flags: Object with the values of all flags as attributes.

    Raises:
        SystemExit: with the exit code, unless all went well.
    """
    logging.set_verbosity(logging.WARNING)
    tf.get_logger().setLevel("ERROR")  # retracing for new shapes is intended
    threads = flags.threads_per_operation
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    with exit_codes():
        modes[mode](flags.model_dir or usual_folder(flags), paths, flags)


def given_fields(flags, names):
    """Lists what flags change in a configuration, `--set` last.

    Args:
        flags: Object with the values of all flags as attributes.
        names: Flags that are fields of the configuration as well.

    Returns:
        List of `"field=value"`.
    """
    given = {name: getattr(flags, name) for name in names}
    return [
        f"{name}={text}" for name, text in given.items() if text
    ] + flags.set


def average_mode(folder_kind):
    """Makes the mode `average` of a kind of model.

    Args:
        folder_kind: Its class of `RunFolder`.
    """

    def average(model_dir, _, flags):
        save_average(folder_kind(model_dir), flags.average_of, say)

    return average
