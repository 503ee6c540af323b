"""Parts travel to the replicas that they are for, whatever these are called."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from moe_keras.parallel.replicas.exchange import by_names, order_of_names

ROOT = pathlib.Path(__file__).parents[4]


def given_to_the_exchange(parts, order):
    given = []

    def exchange(parts):
        given.append(parts)
        return parts

    by_names(exchange, parts, order)
    return given[0]


@pytest.mark.parametrize("number, each", [(4, 1), (12, 1), (24, 2), (24, 12)])
def test_parts_arrive_where_names_are_not_in_the_order_of_replicas(
    number, each
):
    """With an all-to-all that knows replicas by their names alone."""
    names = [
        f"/job:worker/replica:0/task:{worker}/device:GPU:{device}"
        for worker in range(number // each)
        for device in range(each)
    ]
    order, everyone = order_of_names(number, each), np.arange(number)
    given = {
        name: given_to_the_exchange(100 * replica + everyone, order)
        for replica, name in enumerate(names)
    }
    for replica, name in enumerate(names):
        place = sorted(names).index(name)
        received = [given[other][place] for other in sorted(names)]
        parts = by_names(lambda _, got=received: got, everyone, order)
        np.testing.assert_array_equal(parts, 100 * everyone + replica)


@pytest.mark.slow
def test_eleven_workers_exchange_rows():
    sockets = [socket.create_server(("localhost", 0)) for _ in range(11)]
    addresses = [f"localhost:{s.getsockname()[1]}" for s in sockets]
    for each in sockets:
        each.close()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    program = [sys.executable, str(ROOT / "tests/small_exchange.py")]
    processes = [
        subprocess.Popen(
            [*program, str(index), ",".join(addresses)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(11)
    ]
    try:
        for replica, process in enumerate(processes):
            said, _ = process.communicate(timeout=500)
            expected = np.repeat(100 * np.arange(11) + replica, 2)
            (line,) = (x for x in said.splitlines() if x[:8] == "received")
            assert line.split()[1:] == [str(number) for number in expected]
    finally:
        for process in processes:
            process.kill()
            process.wait()
