"""Notices that another worker has died, and says which.

A worker that waits for a dead one in a collective operation would wait for
ever, or until TensorFlow finds out with a message that names an operation.
"""

import os
import socket
import threading
import time

import tensorflow as tf
from tensorflow.python.eager import context

from moe_keras.parallel.processes.cluster import split_address


class WorkerLost(RuntimeError):
    """Another worker has ended; a one-line message that names it."""


class Heartbeat:
    """Asks the other workers' ports, again and again, whether they live.

    When one no longer answers, what this process waits for is broken off, and
    the error that TensorFlow then raises can be translated by `verdict`. A
    process that does not end by itself within `patience` seconds is ended.

    Args:
        cluster: `Cluster`. Its other workers' servers are running.
        interval: float. Seconds between two rounds.
        attempts: int. Rounds without an answer after which a worker is dead.
        patience: float. Seconds from there until the process is ended.

    Example:

    >>> from moe_keras.parallel.processes.cluster import Cluster
    >>> heartbeat = Heartbeat(Cluster(("a:1",), 0), interval=0.01)
    >>> heartbeat.start()
    >>> heartbeat.verdict() is None  # there are no others
    True
    >>> heartbeat.stop()
    """

    def __init__(self, cluster, interval=2.0, attempts=3, patience=40.0):
        self._cluster = cluster
        self._interval = interval
        self._attempts = attempts
        self._patience = patience
        self._silent = dict.fromkeys(cluster.others, 0)
        self._dead = []
        self._is_decided = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self):
        self._thread.start()

    def stop(self):
        """Stop asking: from now on the other workers may end."""
        self._is_over.set()

    def verdict(self):
        """Wait until it is known whether a lost worker caused the failure.

        Returns:
            `WorkerLost`, or None if all others are alive: then something else
            has failed.
        """
        self._is_decided.wait((self._attempts + 2) * self._interval)
        if not self._dead:
            return None
        names = " and ".join(self._cluster.name(i) for i in self._dead)
        # Those who ask a little later must not take this one for dead.
        time.sleep((self._attempts + 1) * self._interval)
        return WorkerLost(
            f"Lost {names}: no answer at this address any more. See what it "
            "said last, then start all workers again with the same commands: "
            "they go on from the last checkpoint."
        )

    def _watch(self):
        while not self._is_over.wait(self._interval):
            for index in self._silent:
                silent = 0 if self._answers(index) else self._silent[index] + 1
                self._silent[index] = silent
            dead = [
                index
                for index, silent in self._silent.items()
                if silent >= self._attempts
            ]
            if dead:
                self._break_off(dead)
                return

    def _answers(self, index):
        address = split_address(self._cluster.addresses[index])
        try:
            socket.create_connection(address, timeout=self._interval).close()
        except OSError:
            return False
        return True

    def _break_off(self, dead):
        self._dead = dead
        self._is_decided.set()
        names = " and ".join(self._cluster.name(i) for i in dead)
        context.context().abort_collective_ops(
            tf.errors.UNAVAILABLE, f"lost {names}"
        )
        if not self._is_over.wait(self._patience):
            print(f"Lost {names}: this process is ended.", flush=True)
            os._exit(1)
