"""The body of a program, once its flags are known to be right."""

import tensorflow as tf
from absl import logging

from trainers.engine.program.exit_codes import exit_codes


def run_body(body, threads_per_operation):
    """Runs what a program does.

    Quietly, with so many threads, and with errors that users can mend as one
    line: see `exit_codes`.

    Args:
        body: Function without arguments.
        threads_per_operation: int. Threads that share one operation on the
            processor; 0 for as many as it has cores.

    Raises:
        SystemExit: with the exit code, unless all went well.
    """
    logging.set_verbosity(logging.WARNING)
    tf.get_logger().setLevel("ERROR")  # retracing for new shapes is intended
    tf.config.threading.set_intra_op_parallelism_threads(threads_per_operation)
    with exit_codes():
        body()
