"""Devices of other processes, on the loopback of this machine."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest
from small_workers import largest_difference, train

from moe_keras.parallel.cluster import Cluster, ClusterError
from moe_keras.parallel.remote import connect
from moe_keras.parallel.worker import start_server

ROOT = pathlib.Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def free_addresses(number):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(number)]
    addresses = [f"localhost:{s.getsockname()[1]}" for s in sockets]
    for each in sockets:
        each.close()
    return addresses


@contextlib.contextmanager
def workers(addresses):
    """Workers for all addresses but the first; always ended."""
    cluster = ",".join(addresses)
    started = []
    try:
        for index in range(1, len(addresses)):
            command = [sys.executable, "-m", "moe_keras.parallel.worker"]
            command += [f"--cluster={cluster}", f"--index={index}"]
            started.append(subprocess.Popen(command, env=ENVIRONMENT))
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def train_on(addresses, folder, steps, rules):
    """`small_mesh.py` with the workers' devices, as a process."""
    command = [sys.executable, str(ROOT / "tests/small_mesh.py"), str(folder)]
    command += [str(steps), ",".join(addresses), rules]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_shards_on_workers_train_like_one_device(number, tmp_path):
    addresses = free_addresses(number + 1)
    with workers(addresses):
        rules = "batch:all;experts:all"
        process = train_on(addresses, tmp_path / "mesh", 4, rules)
        said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert f"/job:worker/replica:0/task:{number - 1}/device:CPU:0" in said
    train(tmp_path / "plain", 4, is_random=True)
    difference, _ = largest_difference(tmp_path / "plain", tmp_path / "mesh")
    assert difference < 1e-5


@pytest.mark.slow
def test_a_killed_worker_is_named_and_the_run_goes_on(tmp_path):
    addresses = free_addresses(3)
    rules = "batch:all;experts:all"
    with workers(addresses) as started:
        process = train_on(addresses, tmp_path, 10_000, rules)
        for line in process.stdout:
            if line.startswith("step"):
                break
        started[1].send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert f"Lost worker 2 ({addresses[2]})" in said
    with workers(addresses):
        process = train_on(addresses, tmp_path, 1, rules)
        said, _ = process.communicate(timeout=500)
    assert process.returncode == 0 and "Resuming after step" in said


def test_port_in_use():
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        cluster = Cluster(("localhost:1", f"localhost:{port}"), 1)
        with pytest.raises(ClusterError, match=f"Port {port}"):
            start_server(cluster)


def test_worker_that_is_not_there():
    cluster = Cluster(tuple(free_addresses(2)), 0)
    with pytest.raises(ClusterError, match="Worker 1 .* does not answer"):
        connect(cluster, patience=0.0)


def test_first_address_is_the_program():
    with pytest.raises(ClusterError, match="--index is 1 or more"):
        start_server(Cluster(("localhost:1", "localhost:2"), 0))
    with pytest.raises(ClusterError, match="first of the addresses"):
        connect(Cluster(("localhost:1", "localhost:2"), 1))
    with pytest.raises(ClusterError, match="first of the addresses"):
        connect(Cluster(("localhost:1",), 0))
