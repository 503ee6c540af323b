"""The workers meet before TensorFlow starts, and compare what they are to do.

TensorFlow itself waits for ever for a worker that does not come, and trains on
nonsense where two workers have different settings.
"""

import contextlib
import json
import socket
import time

from moe_keras.parallel.processes.cluster import (
    ClusterError,
    listen,
    split_address,
)

_GREETING = "moe_keras"


def meet(cluster, about, timeout=120.0):
    """Waits until all workers are there, and compares what they say.

    They talk at the addresses that TensorFlow's servers take afterwards, so
    that a wrong address, or a port in use, shows here.

    Args:
        cluster: `Cluster`.
        about: dict of what JSON can hold. All that must be the same in all
            workers.
        timeout: float. Seconds to wait for the others.

    Raises:
        ClusterError: If a port is in use, a worker does not come, or one has
            another cluster or another `about`; the same message in all
            workers that can be told.
    """
    deadline = time.monotonic() + timeout
    hello = {
        "from": _GREETING,
        "index": cluster.index,
        "addresses": list(cluster.addresses),
        "about": about,
    }
    with listen(cluster) as server:
        if cluster.is_chief:
            error = _receive(cluster, hello, server, deadline)
        else:
            error = _report(cluster, hello, deadline, timeout)
    if error:
        raise ClusterError(error)


def _receive(cluster, hello, server, deadline):
    """The chief's side: hears all others and answers them."""
    heard, connections, error = set(), [], None
    try:
        while not error and len(heard) < len(cluster.others):
            server.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                error = _missing(cluster, heard)
                break
            connections.append(connection)
            try:
                connection.settimeout(10.0)
                other = _read(connection)
            except (OSError, ValueError):
                continue  # no worker: a port scan, a health check
            error = _objection(cluster, hello, other, heard)
            heard.add(other["index"])
        for connection in connections:
            with contextlib.suppress(OSError):
                _write(connection, {"from": _GREETING, "error": error})
    finally:
        for connection in connections:
            connection.close()
    return error


def _missing(cluster, heard):
    missing = [cluster.name(i) for i in cluster.others if i not in heard]
    return (
        f"The chief has waited in vain for {', '.join(missing)}. Start one "
        "process for each address, with the same addresses everywhere."
    )


def _objection(cluster, hello, other, heard):
    """Why these workers cannot work together, or None."""
    index, addresses = other["index"], other["addresses"]
    if addresses != hello["addresses"]:
        return (
            f"A worker has another cluster than the chief: {addresses} there, "
            f"{hello['addresses']} at the chief. All must have the same "
            "addresses in the same order."
        )
    if index in heard or index == cluster.index:
        return f"Two processes say that they are {cluster.name(index)}."
    there, here = other["about"], hello["about"]
    differing = [
        f"{name} ({there.get(name)!r} there, {here.get(name)!r} at the chief)"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differing:
        return (
            f"{cluster.name(index).capitalize()} has another configuration "
            f"than the chief: {', '.join(differing)}."
        )
    return None


def _report(cluster, hello, deadline, patience):
    """The others' side: tells the chief and waits for its answer.

    A chief that can be reached may have begun to wait later than this worker
    and answers when its own time is over.
    """
    while True:
        left = deadline - time.monotonic()
        try:
            address = split_address(cluster.addresses[0])
            with socket.create_connection(address, timeout=5.0) as connection:
                connection.settimeout(patience + 10.0)
                _write(connection, hello)
                return _read(connection)["error"]
        except ValueError:
            return (
                f"What answers at the address of {cluster.name(0)} is no "
                "worker of moe_keras."
            )
        except OSError as error:
            if left <= 0:
                return (
                    f"The chief, {cluster.name(0)}, does not answer: {error}. "
                    "Is it running, and can its address be reached from here?"
                )
        time.sleep(0.2)


def _write(connection, message):
    connection.sendall(json.dumps(message).encode() + b"\n")


def _read(connection):
    """A message; ValueError for what is none, TimeoutError for silence."""
    with connection.makefile("rb") as file:
        line = file.readline()
    if not line:
        raise ConnectionError("the connection was closed")
    message = json.loads(line)
    if not isinstance(message, dict) or message.get("from") != _GREETING:
        raise ValueError("no message of a worker")
    return message
