"""Devices of other processes, on the loopback of this machine."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

import grpc
import pytest
from small_workers import largest_difference, train

from benchmarks.kill_resume import differences
from moe_keras.parallel.processes.cluster import Cluster, ClusterError
from moe_keras.parallel.processes.remote import connect
from moe_keras.parallel.worker import main, start_server
from trainers.engine.checkpoints.recent import training_folder

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


def train_on(addresses, folder, steps, rules, seconds=0.0):
    """`small_mesh.py` with the workers' devices, as a process."""
    command = [sys.executable, str(ROOT / "tests/small_mesh.py"), str(folder)]
    command += [str(steps), ",".join(addresses), rules, str(seconds)]
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Four steps on one device."""
    folder = tmp_path_factory.mktemp("plain")
    train(folder, 4, is_random=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, rules",
    [
        (2, "batch:all;experts:all"),
        (4, "batch:all;experts:all"),
        (2, "experts:all"),
    ],
)
def test_shards_on_workers_train_like_one_device(
    number, rules, plain, tmp_path
):
    addresses = free_addresses(number + 1)
    with workers(addresses):
        process = train_on(addresses, tmp_path / "mesh", 4, rules)
        said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert f"/job:worker/replica:0/task:{number - 1}/device:CPU:0" in said
    difference, _ = largest_difference(plain, tmp_path / "mesh")
    assert difference < 1e-5


@pytest.mark.slow
def test_a_killed_worker_is_named_and_the_run_goes_on(tmp_path):
    """To the end, where all is as if nobody had been killed, bit for bit."""
    addresses = free_addresses(3)
    rules, steps = "batch:all;experts:all", 9
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    with workers(addresses) as started:
        process = train_on(addresses, alone, steps, rules)
        said, _ = process.communicate(timeout=500)
        assert process.returncode == 0, said
        # Killed while step 4 is evaluated, when the third one was saved.
        process = train_on(addresses, killed, steps, rules, seconds=3.0)
        for line in process.stdout:
            if line.startswith("step 4/"):
                break
        started[1].send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert f"Lost worker 2 ({addresses[2]})" in said
    with workers(addresses):
        process = train_on(addresses, killed, steps, rules)
        said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert "Resuming after step 3." in said and f"step {steps}/" in said
    ends = [training_folder(path).stored()[-1] for path in (alone, killed)]
    assert [end.step for end in ends] == [steps, steps]
    differing, compared = differences(*(end.path for end in ends))
    assert compared > 40 and not differing


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


@contextlib.contextmanager
def server_of(task):
    """Answers as a TensorFlow server of this name does; its address."""
    status = f"/job:{task}/device:CPU:0".encode()
    handler = grpc.unary_unary_rpc_method_handler(lambda _, context: status)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "tensorflow.WorkerService", {"GetStatus": handler}
            )
        ]
    )
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait()


def test_workers_with_addresses_in_another_order():
    with server_of("worker/replica:0/task:1") as address:
        cluster = Cluster((*free_addresses(1), address), 0)
        with pytest.raises(
            ClusterError, match=f"Worker 1 .{address}. was started as worker 2"
        ):
            connect(cluster)


@pytest.mark.parametrize("task", ["chief/replica:0/task:0", "other"])
def test_what_answers_is_no_worker(task):
    with server_of(task) as address:
        cluster = Cluster((*free_addresses(1), address), 0)
        with pytest.raises(ClusterError, match="worker 1 .* is no worker"):
            connect(cluster)


@pytest.mark.parametrize(
    "addresses, index, said",
    [
        ("localhost:1,localhost:2", 2, "between 0 and 1.*Received: 2"),
        ("localhost:1,localhost:2", 0, "--index is 1 or more"),
        ("localhost:1,localhost", 1, "must be HOST:PORT.*'localhost'"),
        ("localhost:1,localhost:1", 1, "an address of its own"),
        ("localhost:1,localhost:{port}", 1, "Port {port} of worker 1"),
    ],
)
def test_worker_that_cannot_start_says_why_in_a_line(addresses, index, said):
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        cluster = addresses.format(port=port)
        with pytest.raises(SystemExit, match=said.format(port=port)) as ended:
            main([f"--cluster={cluster}", f"--index={index}"])
    assert str(ended.value).startswith("Error: ")
    assert "\n" not in str(ended.value)


def test_first_address_is_the_program():
    with pytest.raises(ClusterError, match="--index is 1 or more"):
        start_server(Cluster(("localhost:1", "localhost:2"), 0))
    with pytest.raises(ClusterError, match="first of the addresses"):
        connect(Cluster(("localhost:1", "localhost:2"), 1))
    with pytest.raises(ClusterError, match="first of the addresses"):
        connect(Cluster(("localhost:1",), 0))
