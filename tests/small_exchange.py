"""One all-to-all between workers, as a program for each of them.

`python tests/small_exchange.py INDEX ADDRESS,ADDRESS,...` sends to each replica
two rows with 100 times its own number plus that of the other, and prints what
it has received.
"""

import sys

import tensorflow as tf

from moe_keras.parallel.processes.cluster import cluster_of
from moe_keras.parallel.processes.strategies import start_workers
from moe_keras.parallel.replicas.exchange import all_to_all
from moe_keras.placement.replicas import num_replicas, replica_index


def exchanged():
    others = tf.repeat(tf.range(num_replicas()), 2)
    return all_to_all(100 * replica_index() + others)


def main(index, addresses):
    workers = start_workers(
        "multi_worker", cluster=cluster_of(addresses, int(index))
    )
    with workers:
        run = tf.function(
            lambda: workers.strategy.run(exchanged), autograph=False
        )
        print("received", *run().numpy(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
