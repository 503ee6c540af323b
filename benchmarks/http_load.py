"""Clients of a server on this machine: one after the other, or at a rate.

Small and plain, so that they take little of the processor that they share with
the server: HTTP/1.1 over connections that stay open, nothing else.
"""

import asyncio
import collections
import dataclasses
import ipaddress
import itertools
import json
import time
import urllib.parse

import numpy as np

RETRIED = (429, 503)  # answers after which a patient client asks again
_GONE = (OSError, EOFError)  # IncompleteReadError is an EOFError


@dataclasses.dataclass
class Tally:
    """What became of requests.

    Attributes:
        statuses: `Counter` by status code, "gone" where a connection ended.
        seconds: Latencies of those with status 200, in order.
        sentences: int. How many were translated.
        elapsed: float. Seconds from the first request to the last answer.
        retried: int. How often a patient client asked again.
    """

    statuses: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    seconds: list = dataclasses.field(default_factory=list)
    sentences: int = 0
    elapsed: float = 0.0
    retried: int = 0

    def figures(self):
        """Returns throughput and latencies as a dict that JSON can hold."""
        p50, p99 = (
            np.percentile(self.seconds, [50, 99])
            if self.seconds
            else (np.nan, np.nan)
        )
        return {
            "requests": self.statuses.total(),
            "statuses": {str(k): n for k, n in sorted_by_name(self.statuses)},
            "sentences_per_second": self.sentences / self.elapsed,
            "p50_ms": 1000 * float(p50),
            "p99_ms": 1000 * float(p99),
            "retried": self.retried,
        }


def sorted_by_name(counter):
    """Returns the pairs of a counter in an order that does not change."""
    return sorted(counter.items(), key=lambda pair: str(pair[0]))


def local_address(url):
    """Returns host and port of a URL on this machine.

    Raises:
        ValueError: for another machine: others are not to be loaded.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    is_local = host == "localhost" or (
        host.replace(".", "").isdigit()
        and ipaddress.ip_address(host).is_loopback
    )
    if parts.scheme != "http" or not is_local:
        raise ValueError(
            "`url` must be one of this machine, as http://127.0.0.1:8501. "
            f"Received: url={url}"
        )
    return host, parts.port or 80


class Connection:
    """One connection, opened when it is needed."""

    def __init__(self, address):
        self._address = address
        self._streams = None

    async def ask(self, path, body=None):
        """Sends a request; returns status and body.

        Raises:
            OSError or EOFError: where the connection ends before the answer.
        """
        try:
            return await self._ask(path, body)
        except _GONE:
            self.close()
            raise

    def close(self):
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def _ask(self, path, body):
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # the server had enough of an idle connection
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        method = "GET" if body is None else "POST"
        body = body or b""
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.split("\r\n")
        fields = dict(x.lower().split(": ", 1) for x in lines if ": " in x)
        answer = await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.close()
        return int(status.split()[1]), answer


def predict_path(name):
    """Returns the path of predictions of a model."""
    return f"/v1/models/{name}:predict"


def rows(texts):
    """Returns the body of a request for the translations of texts."""
    return json.dumps({"instances": list(texts)}).encode()


async def closed_loop(address, name, texts, clients, requests):
    """Clients that ask one request after the other, one sentence each.

    Args:
        address: Host and port.
        name: str. The name of the model.
        texts: List of str.
        clients: int.
        requests: int. Of all clients together.

    Returns:
        `Tally`.
    """
    tally, bodies = Tally(), _bodies(texts)
    left = iter(range(requests))

    async def client():
        connection = Connection(address)
        for _ in left:
            await _one(connection, name, next(bodies), tally)
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    tally.elapsed = time.perf_counter() - start
    return tally


async def open_loop(address, name, texts, rate, requests, on_sent=None):
    """Requests at a steady rate, whatever becomes of those before.

    Args:
        address, name, texts: As of `closed_loop`.
        rate: float. Requests a second.
        requests: int.
        on_sent: Coroutine function of the number of each request, or None.

    Returns:
        `Tally`.
    """
    tally, bodies = Tally(), _bodies(texts)
    idle, running = [], set()

    async def request():
        connection = idle.pop() if idle else Connection(address)
        await _one(connection, name, next(bodies), tally)
        idle.append(connection)

    start = time.perf_counter()
    for number in range(requests):
        await asyncio.sleep(
            max(0.0, start + number / rate - time.perf_counter())
        )
        task = asyncio.create_task(request())
        running.add(task)
        task.add_done_callback(running.discard)
        if on_sent is not None:
            await on_sent(number)
    await asyncio.gather(*running)
    tally.elapsed = time.perf_counter() - start
    for connection in idle:
        connection.close()
    return tally


async def patient_clients(address, name, texts, clients, until):
    """Clients that ask again where a request was refused or cut off.

    Args:
        address, name, texts, clients: As of `closed_loop`.
        until: `asyncio.Event`. They go on until it is set.

    Returns:
        `Tally`: all requests end with an answer other than `RETRIED`.
    """
    tally, bodies = Tally(), _bodies(texts)

    async def client():
        connection = Connection(address)
        while not until.is_set():
            body, begin = next(bodies), time.perf_counter()
            while (status := await _status(connection, name, body)) in (
                *RETRIED,
                "gone",
            ):
                tally.retried += 1
                await asyncio.sleep(0.1)
            _count(tally, status, begin)
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    tally.elapsed = time.perf_counter() - start
    return tally


def _bodies(texts):
    return itertools.cycle([rows([text]) for text in texts])


async def _one(connection, name, body, tally):
    begin = time.perf_counter()
    _count(tally, await _status(connection, name, body), begin)


async def _status(connection, name, body):
    try:
        status, _ = await connection.ask(predict_path(name), body)
    except _GONE:
        return "gone"
    return status


def _count(tally, status, begin):
    tally.statuses[status] += 1
    if status == 200:
        tally.seconds.append(time.perf_counter() - begin)
        tally.sentences += 1
