"""Workers that meet, in threads of one process."""

import concurrent.futures
import socket
import time

import pytest

from moe_keras.parallel.processes.cluster import Cluster, ClusterError
from moe_keras.parallel.processes.rendezvous import meet


def _addresses(number):
    servers = [socket.create_server(("", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return tuple(f"localhost:{port}" for port in ports)


def _outcomes(clusters, abouts, timeout=5.0):
    """What each worker's `meet` ends with: None or the text of its error."""

    def one(cluster, about):
        try:
            return meet(cluster, about, timeout)
        except ClusterError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(one, clusters, abouts))


def _clusters(number):
    addresses = _addresses(number)
    return [Cluster(addresses, index) for index in range(number)]


def test_workers_of_one_mind_meet():
    assert _outcomes(_clusters(3), [{"steps": 5}] * 3) == [None] * 3


def test_all_are_told_which_fields_differ():
    clusters = _clusters(2)
    abouts = [{"steps": 5, "seed": 1}, {"steps": 6, "seed": 1}]
    outcomes = _outcomes(clusters, abouts)
    assert (
        outcomes[0]
        == outcomes[1]
        == (
            f"Worker 1 ({clusters[1].addresses[1]}) has another configuration "
            "than the chief: steps (6 there, 5 at the chief)."
        )
    )


def test_other_addresses_are_another_cluster():
    ours, *_ = clusters = _clusters(2)
    more = (*ours.addresses, "localhost:1")
    outcomes = _outcomes([ours, Cluster(more, 1)], [{}] * 2)
    assert outcomes[0] == outcomes[1]
    assert "another cluster than the chief" in outcomes[0]
    assert len(clusters) == 2


def test_who_does_not_come_is_named():
    clusters = _clusters(3)
    outcomes = _outcomes([clusters[0], clusters[2]], [{}] * 2, timeout=1.0)
    assert clusters[0].name(1) in outcomes[0]
    assert clusters[0].name(2) not in outcomes[0]
    assert outcomes[0] == outcomes[1]


def test_a_worker_waits_for_the_answer_of_a_chief_that_came_later():
    clusters = _clusters(3)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        early = pool.submit(_outcomes, [clusters[2]], [{}], timeout=1.2)
        time.sleep(0.6)  # the chief gives up 0.6 s after the worker would
        (chief,) = _outcomes([clusters[0]], [{}], timeout=1.2)
    assert clusters[0].name(1) in chief
    assert early.result() == [chief]


def test_a_chief_that_does_not_answer_is_named():
    cluster = _clusters(2)[1]
    begin = time.monotonic()
    with pytest.raises(ClusterError, match="The chief, worker 0"):
        meet(cluster, {}, timeout=0.5)
    assert time.monotonic() - begin < 5


def test_strangers_at_the_chiefs_door_are_passed_over():
    clusters = _clusters(2)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        chief = pool.submit(meet, clusters[0], {}, 10.0)
        host, port = clusters[0].addresses[0].split(":")
        for _ in range(50):
            try:
                with socket.create_connection((host, int(port))) as stranger:
                    stranger.sendall(b"GET / HTTP/1.1\n")
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        assert meet(clusters[1], {}, timeout=5.0) is None
        assert chief.result() is None
