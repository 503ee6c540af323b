"""Lends the devices of this host to a program that trains.

The same addresses everywhere, the program's own first:

  python -m moe_keras.parallel.worker --cluster=a:2222,b:2222,c:2222 --index=1
  python -m moe_keras.parallel.worker --cluster=a:2222,b:2222,c:2222 --index=2
  python -m trainers.nmt --cluster=a:2222,b:2222,c:2222 \\
    --mesh_shape=all:2 --layout='batch:all;experts:all'

A worker runs until it is ended, and serves one program at a time. Whoever can
reach its port can run what they like on it: keep it within a network of your
own.
"""

import signal
import sys

import tensorflow as tf

from moe_keras.parallel.processes.cluster import (
    ClusterError,
    cluster_of,
    listen,
)
from moe_keras.parallel.processes.remote import cluster_spec
from moe_keras.programs import worker_parser


def start_server(cluster):
    """Starts the TensorFlow server of a worker.

    Args:
        cluster: `Cluster`; its index is 1 or more.

    Returns:
        `tf.distribute.Server`, running.

    Raises:
        ClusterError: if the index is that of the program, or the port is in
            use.
    """
    if cluster.is_chief:
        raise ClusterError(
            "A worker's --index is 1 or more: the first of the addresses is "
            "that of the program that trains. Received: 0"
        )
    listen(cluster).close()
    return tf.distribute.Server(
        cluster_spec(cluster),
        job_name="worker",
        task_index=cluster.index - 1,
        protocol="grpc",
    )


def main(arguments=None):
    """Serves until the process is ended."""
    options = worker_parser().parse_args(arguments)
    try:
        cluster = cluster_of(options.cluster, options.index)
        server = start_server(cluster)
    except ClusterError as error:
        sys.exit(f"Error: {error}")
    # While TensorFlow waits, Python would not hear of Ctrl-C. In the background
    # of a shell it is ignored, and stays so.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(f"{cluster.name(cluster.index).capitalize()} is ready.", flush=True)
    server.join()


if __name__ == "__main__":
    main()
