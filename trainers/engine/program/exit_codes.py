"""Exit codes of a program, and the line that it prints as it ends."""

import contextlib
import os
import signal
import sys

import tensorflow as tf

from moe_keras.parallel.processes.heartbeat import WorkerLost
from trainers.engine.bad_steps import TrainingError
from trainers.engine.checkpoints.files import CheckpointError, reason
from trainers.engine.interruption import Interrupted, Terminated, sigterm_raises

_TOLD = (ValueError, OSError, TrainingError, CheckpointError, WorkerLost)
_NO_ROOM = (  # memory, or a disk for TensorBoard
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
)
_UNREADABLE = (tf.errors.NotFoundError, tf.errors.DataLossError)


@contextlib.contextmanager
def exit_codes():
    """Context manager: reports user errors as one line, without a traceback.

    Raises:
        SystemExit: 1 after an error, which is said on stderr; 130 after
            Ctrl-C, 143 after SIGTERM, and 141 where nobody reads the output
            any more, as shells have it.

    Example:

    >>> try:
    ...     with exit_codes():
    ...         raise ValueError("`k` must be at least 1. Received: k=0")
    ... except SystemExit as end:
    ...     print(end)
    Error: `k` must be at least 1. Received: k=0
    """
    try:
        with sigterm_raises():
            yield
    except BrokenPipeError:  # as of `... | head`; nobody is there to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except _TOLD as error:
        sys.exit(f"Error: {error}")
    except _NO_ROOM as error:
        sys.exit(f"Error: {reason(error)}")
    except _UNREADABLE as error:
        sys.exit(
            "Error: a file cannot be read any more: "
            f"{reason(error)}. What was saved is kept; when the file is there, "
            "give the same command again."
        )
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)
    except KeyboardInterrupt:
        _stopped("Ctrl-C", signal.SIGINT)
    except Terminated:
        _stopped("SIGTERM", signal.SIGTERM)


def _stopped(by, number):
    print(f"Stopped by {by}. Nothing that was saved is lost.", file=sys.stderr)
    sys.exit(128 + number)
