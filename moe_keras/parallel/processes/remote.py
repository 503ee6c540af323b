"""Devices of other processes, for a program that has a cluster to itself.

One program, the first of the cluster's addresses, computes on its own devices
and on those that the others lend it (`moe_keras.parallel.worker`). They run
no program of their own, and hold what it leaves on their devices.
"""

import re
import socket
import time

import grpc
import tensorflow as tf

from moe_keras.parallel.processes.cluster import (
    ClusterError,
    listen,
    split_address,
)

# What every TensorFlow server tells of itself, and the name of a device in it.
_STATUS = "/tensorflow.WorkerService/GetStatus"
_DEVICE = re.compile(rb"/job:(\w+)/replica:\d+/task:(\d+)/device:")


def cluster_spec(cluster):
    """TensorFlow's description of a `Cluster`: a chief, and its workers."""
    chief, *workers = cluster.addresses
    return tf.train.ClusterSpec({"chief": [chief], "worker": workers})


def connect(cluster, patience=120.0):
    """Makes the workers' devices known to TensorFlow.

    Args:
        cluster: `Cluster` of two addresses or more, the first of which is
            this process's own.
        patience: float. Seconds to wait for workers that have not started.

    Returns:
        List of the names of the workers' GPUs, or of one CPU of each worker
        if none has a GPU.

    Raises:
        ClusterError: if there is no worker, one does not answer, is none or
            another one, or this process is not the first or has no port.
    """
    if not cluster.is_chief or not cluster.others:
        raise ClusterError(
            "The program that trains is the first of the addresses, and its "
            f"workers are the others. Received: {', '.join(cluster.addresses)}"
            f", index {cluster.index}"
        )
    listen(cluster).close()  # an error of TensorFlow's would end the process
    deadline = time.monotonic() + patience
    for index in cluster.others:
        _wait_for(cluster, index, deadline)
        _check_is_worker(cluster, index)
    tf.config.experimental_connect_to_cluster(
        cluster_spec(cluster), job_name="chief", task_index=0
    )
    return _lent("GPU") or _lent("CPU")


def _wait_for(cluster, index, deadline):
    address = split_address(cluster.addresses[index])
    while True:
        try:
            socket.create_connection(address, timeout=5.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{cluster.name(index).capitalize()} does not answer: "
                    f"{error.strerror or error}. Start it with `python -m "
                    "moe_keras.parallel.worker --cluster="
                    f"{','.join(cluster.addresses)} --index={index}`."
                ) from error
        time.sleep(0.2)


def _check_is_worker(cluster, index):
    """Asks who it is; TensorFlow would take its answer for another's."""
    with grpc.insecure_channel(
        cluster.addresses[index], options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        try:
            status = channel.unary_unary(_STATUS)(b"", timeout=10.0)
        except grpc.RpcError:
            status = b""
    device = _DEVICE.search(status)
    if device is None or device[1] != b"worker":
        raise ClusterError(
            f"What answers at the address of {cluster.name(index)} is no "
            "worker: `python -m moe_keras.parallel.worker` makes one."
        )
    its_own = int(device[2]) + 1
    if its_own != index:
        raise ClusterError(
            f"{cluster.name(index).capitalize()} was started as worker "
            f"{its_own}, with --index={its_own} of other addresses. All must "
            "have the same addresses in the same order: "
            f"{','.join(cluster.addresses)}."
        )


def _lent(kind):
    """The first CPU of each worker, or all their GPUs."""
    names = [
        device.name
        for device in tf.config.list_logical_devices(kind)
        if "/job:worker/" in device.name
    ]
    if kind == "GPU":
        return names
    return [name for name in names if name.endswith(":0")]
