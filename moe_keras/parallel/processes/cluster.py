"""Which processes train together, and which of them this one is."""

import dataclasses
import json
import os
import re
import socket

_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):(?P<port>\d+)")


class ClusterError(ValueError):
    """The workers cannot work together; a one-line message."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Addresses of the workers, and which of them this process is.

    Attributes:
        addresses: Tuple of `"host:port"`, the same in all workers. The first
            one is the *chief*, which writes all files.
        index: int. Place of this process in it.

    Raises:
        ClusterError: If an address is malformed or there twice, or no address
            has this index.

    Example:

    >>> cluster = Cluster(("10.0.0.1:2222", "10.0.0.2:2222"), index=1)
    >>> cluster.name(0), cluster.others, cluster.is_chief
    ('worker 0 (10.0.0.1:2222)', [0], False)
    """

    addresses: tuple
    index: int

    def __post_init__(self):
        for address in self.addresses:
            split_address(address)
        repeated = {a for a in self.addresses if self.addresses.count(a) > 1}
        if repeated:
            raise ClusterError(
                "Each worker must have an address of its own. Received twice: "
                f"{', '.join(sorted(repeated))}"
            )
        if not 0 <= self.index < len(self.addresses):
            raise ClusterError(
                f"The index of a worker must be between 0 and "
                f"{len(self.addresses) - 1}, for there are "
                f"{len(self.addresses)} addresses. Received: {self.index}"
            )

    @property
    def is_chief(self):
        return self.index == 0

    @property
    def others(self):
        """Indices of the other workers."""
        return [i for i in range(len(self.addresses)) if i != self.index]

    def name(self, index):
        """Name of a worker in messages."""
        return f"worker {index} ({self.addresses[index]})"


def split_address(address):
    """Host and port.

    Raises:
        ClusterError: If it is no address.

    >>> split_address("localhost:2222"), split_address("[::1]:80")
    (('localhost', 2222), ('::1', 80))
    """
    match = _ADDRESS.fullmatch(address)
    if not match or not 0 < int(match["port"]) < 65536:
        raise ClusterError(
            "An address must be HOST:PORT, with a port between 1 and 65535. "
            f"Received: {address!r}"
        )
    return match["host"].strip("[]"), int(match["port"])


def cluster_of(text, index):
    """Make the cluster that two flags describe.

    Args:
        text: str. Addresses with commas between.
        index: int or None.

    Raises:
        ClusterError: If it is none.

    >>> cluster_of("a:1,b:1", 1).addresses
    ('a:1', 'b:1')
    """
    if index is None:
        raise ClusterError(
            "With --cluster each worker must be told which of its addresses "
            "is its own: --index=0 for the first. Received no --index."
        )
    return Cluster(tuple(text.replace(" ", "").split(",")), index)


def cluster_of_environment(environment=os.environ):
    """Make the cluster that `TF_CONFIG` describes, as TensorFlow reads it.

    Its `cluster` lists a `worker` job, and perhaps a `chief`, which comes
    first; `task` has `type` and `index`.

    Raises:
        ClusterError: If there is none, or it cannot be read.

    >>> text = '{"cluster": {"worker": ["a:1", "b:1"]}, '
    >>> text += '"task": {"type": "worker", "index": 1}}'
    >>> cluster_of_environment({"TF_CONFIG": text}).index
    1
    """
    text = environment.get("TF_CONFIG")
    if not text:
        raise ClusterError(
            "Several workers must know each other: give --cluster="
            "HOST:PORT,HOST:PORT,... and --index, or set TF_CONFIG. "
            "Received neither."
        )
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
        addresses = tuple(chiefs) + tuple(workers)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ClusterError(
            'TF_CONFIG must be as {"cluster": {"worker": ["host:port", ...]}, '
            '"task": {"type": "worker", "index": 0}}. '
            f"Received: {text!r} ({type(error).__name__}: {error})"
        ) from error
    if kind not in ("chief", "worker") or {*jobs} - {"chief", "worker"}:
        raise ClusterError(
            "TF_CONFIG must have no jobs but `chief` and `worker`. Received: "
            f"{', '.join(sorted({*jobs, kind}))}"
        )
    return Cluster(addresses, index + len(chiefs) * (kind == "worker"))


def listen(cluster):
    """Open the port of this worker.

    Returns:
        A listening socket.

    Raises:
        ClusterError: If another process has it.
    """
    _, port = split_address(cluster.addresses[cluster.index])
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
            backlog=len(cluster.addresses),
        )
    except OSError as error:
        raise ClusterError(
            f"Port {port} of {cluster.name(cluster.index)} cannot be used: "
            f"{error.strerror}. Another program has it, or another worker "
            "with the same index; end that one, or take another port in the "
            "addresses of all workers."
        ) from error
