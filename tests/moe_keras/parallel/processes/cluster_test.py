"""Descriptions of clusters, right and wrong."""

import json
import socket

import pytest

from moe_keras.parallel.processes.cluster import (
    Cluster,
    ClusterError,
    cluster_of,
    cluster_of_environment,
    listen,
)


def _environment(cluster, kind="worker", index=0):
    task = {"type": kind, "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


def test_the_chief_of_tf_config_is_the_first_worker():
    jobs = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    cluster = cluster_of_environment(_environment(jobs, "worker", 1))
    assert cluster.addresses == ("a:1", "b:1", "c:1")
    assert cluster.index == 2 and not cluster.is_chief
    chief = cluster_of_environment(_environment(jobs, "chief", 0))
    assert chief.is_chief


@pytest.mark.parametrize(
    "text, index, message",
    [
        ("a:1,b:1", None, "Received no --index"),
        ("a:1,b:1", 2, "between 0 and 1.*Received: 2"),
        ("a:1,a:1", 0, "an address of its own.*a:1"),
        ("a:1,b", 0, "HOST:PORT.*Received: 'b'"),
        ("a:1,b:70000", 0, "between 1 and 65535"),
        ("", 0, "HOST:PORT"),
    ],
)
def test_a_wrong_flag_is_said_in_a_line(text, index, message):
    with pytest.raises(ClusterError, match=message):
        cluster_of(text, index)


@pytest.mark.parametrize(
    "environment, message",
    [
        ({}, "Received neither"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG must be as"),
        ({"TF_CONFIG": '{"cluster": {}}'}, "KeyError: 'task'"),
        (_environment({"worker": ["a:1"], "ps": ["b:1"]}), "Received: ps"),
        (_environment({"worker": ["a:1"]}, index=3), "Received: 3"),
    ],
)
def test_a_wrong_tf_config_is_said_in_a_line(environment, message):
    with pytest.raises(ClusterError, match=message):
        cluster_of_environment(environment)


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        cluster = Cluster((f"localhost:{port}",), 0)
        with pytest.raises(ClusterError, match=f"Port {port} of worker 0"):
            listen(cluster)
