"""What a server is put through: load, overload, odd strings, switches, kills.

Each scenario is a coroutine function of a `Setting` that returns figures, with
`"failures"`: how many requests ended otherwise than they should have.
"""

import asyncio
import base64
import dataclasses
import json
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

from http_load import (
    Connection,
    closed_loop,
    open_loop,
    patient_clients,
    predict_path,
)
from odd_strings import odd_strings
from target_languages import INPUT, language_for, odd_language_for

CLIENTS = (1, 8, 64, 256)
_RSS = re.compile(rb"^process_resident_memory_bytes (\S+)", re.MULTILINE)


@dataclasses.dataclass
class Setting:
    """What scenarios need to know.

    Attributes:
        address: Host and port.
        name: str. The name of the model.
        texts: List of str, ordinary sentences.
        requests: int. Of each run of a loop.
        odd: int. Odd strings.
        repeats: int. Version switches, and restarts.
        server: `OwnServer`, or None where it was there already.
        capacity: float. Sentences a second, measured by `closed`.
        languages: List of str that a model of several is asked for.
    """

    address: tuple
    name: str
    texts: list
    requests: int
    odd: int
    repeats: int
    server: object = None
    capacity: float = 0.0
    languages: list = dataclasses.field(default_factory=list)


class OwnServer:
    """`python -m trainers.serve` on a copy of a version.

    Args:
        version: path of a version's folder.
        folder: path of an empty folder, for the copies.
        port: int.
        name: str. The name of the model.
        arguments: More flags of the program.
    """

    def __init__(self, version, folder, port, name, arguments=()):
        self._version = pathlib.Path(version)
        self._folder = pathlib.Path(folder)
        self.number = 0
        self.add_version()
        self._log = (self._folder / "log").open("ab")
        self._command = [
            *(sys.executable, "-m", "trainers.serve", str(self._folder)),
            *(f"--port={port}", f"--model_name={name}"),
            *("--poll_seconds=0.5", *arguments),
        ]
        self._process = None

    def add_version(self):
        """Copies the version under the next number, all at once."""
        aside = self._folder / "unfinished"
        shutil.copytree(self._version, aside)
        self.number += 1
        aside.rename(self._folder / str(self.number))

    def drop_versions_before(self, number):
        """Removes copies that are served no more, to save room."""
        for path in self._folder.iterdir():
            if path.name.isdigit() and int(path.name) < number:
                shutil.rmtree(path)

    def start(self):
        """Starts the program; it may still be loading."""
        self._process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log
        )

    def end(self, number=signal.SIGTERM):
        """Sends a signal and waits; returns the exit code."""
        self._process.send_signal(number)
        return self._process.wait()

    def close(self):
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()


async def closed(setting):
    """Clients that ask one request after the other."""
    found = []
    for clients in CLIENTS:
        tally = await closed_loop(
            *_model(setting), clients, min(setting.requests, 400 * clients)
        )
        found.append({"clients": clients, **tally.figures()})
        setting.capacity = max(
            setting.capacity, found[-1]["sentences_per_second"]
        )
    return {"loops": found, "failures": sum(map(_not_answered, found))}


async def half(setting):
    """A steady rate of half the capacity."""
    rate = setting.capacity / 2
    tally = await open_loop(*_model(setting), rate, setting.requests)
    figures = {"rate": rate, **tally.figures()}
    return {**figures, "failures": _not_answered(figures)}


async def overload(setting):
    """A steady rate of twice the capacity; 429 is no failure."""
    sizes = []

    async def measure(number):
        # When a tenth is sent, and at the end.
        if number in (setting.requests // 10, setting.requests - 1):
            sizes.append(await resident_bytes(setting.address))

    rate = 2 * setting.capacity
    tally = await open_loop(*_model(setting), rate, setting.requests, measure)
    figures = {"rate": rate, "resident_bytes": sizes, **tally.figures()}
    failures = _not_answered(figures) - figures["statuses"].get("429", 0)
    return {**figures, "failures": failures}


async def odd(setting):
    """Odd strings beside a steady load of others; then some of them alone."""
    strings = odd_strings(setting.odd)
    done = asyncio.Event()
    others = asyncio.create_task(patient_clients(*_model(setting), 4, done))
    connection, draw, found = Connection(setting.address), random.Random(0), []
    failures = 0
    while len(found) < len(strings):
        batch = strings[len(found) : len(found) + draw.randint(1, 16)]
        answers = await _translate(connection, setting, batch)
        failures += answers is None
        found += answers or [None] * len(batch)
    done.set()
    figures = (await others).figures()
    places = draw.sample(range(len(strings)), min(200, len(strings)))
    other_texts = 0
    for place in places:
        alone = await _translate(connection, setting, [strings[place]])
        other_texts += alone is None or alone[0] != found[place]
    connection.close()
    return {
        "odd_strings": len(strings),
        "odd_failures": failures,
        "other_texts_alone": f"{other_texts} of {len(places)}",
        "others": figures,
        "failures": failures + other_texts + _not_answered(figures),
    }


async def versions(setting):
    """New versions under load."""
    done = asyncio.Event()
    clients = asyncio.create_task(patient_clients(*_model(setting), 8, done))
    for _ in range(setting.repeats):
        setting.server.add_version()
        await _until(lambda: _is_served(setting, setting.server.number))
        setting.server.drop_versions_before(setting.server.number)
    done.set()
    figures = (await clients).figures()
    size = await resident_bytes(setting.address)
    return {
        "switches": setting.repeats,
        "resident_bytes": size,
        **figures,
        "failures": _not_answered(figures),
    }


async def restarts(setting):
    """SIGTERM and a new start, behind clients that try again."""
    done = asyncio.Event()
    clients = asyncio.create_task(patient_clients(*_model(setting), 8, done))
    codes = []
    for _ in range(setting.repeats):
        await asyncio.sleep(1.0)
        codes.append(await asyncio.to_thread(setting.server.end))
        setting.server.start()
        await _until(lambda: _is_ready(setting))
    done.set()
    figures = (await clients).figures()
    wrong = sum(code != 0 for code in codes)
    return {
        "restarts": setting.repeats,
        "exit_codes": sorted(set(codes)),
        **figures,
        "failures": wrong + _not_answered(figures),
    }


async def kill(setting):
    """kill -9, and how long the next start takes until it serves."""
    setting.server.end(signal.SIGKILL)
    begin = time.perf_counter()
    setting.server.start()
    await _until(lambda: _is_ready(setting))
    return {"seconds_to_serve": time.perf_counter() - begin, "failures": 0}


SCENARIOS = {
    function.__name__: function
    for function in (closed, half, overload, odd, versions, restarts, kill)
}
NEED_OWN_SERVER = ("versions", "restarts", "kill")


async def resident_bytes(address):
    """Returns the memory of the server's process, by its own metrics."""
    connection = Connection(address)
    _, answer = await connection.ask("/metrics")
    connection.close()
    return int(float(_RSS.search(answer)[1]))


async def wait_until_ready(setting):
    """Waits until the server answers."""
    await _until(lambda: _is_ready(setting))


def _model(setting):
    texts = setting.texts
    if setting.languages:
        texts = [
            {"inputs": x, INPUT: language_for(x, setting.languages)}
            for x in texts
        ]
    return setting.address, setting.name, texts


def _not_answered(figures):
    return figures["requests"] - figures["statuses"].get("200", 0)


async def _translate(connection, setting, strings):
    """The texts of an answer, or None where there is none."""
    inputs = {"inputs": list(map(_encoded, strings))}
    if setting.languages:
        inputs[INPUT] = [
            _encoded(odd_language_for(x, setting.languages)) for x in strings
        ]
    body = json.dumps({"inputs": inputs}).encode()
    status, answer = await connection.ask(predict_path(setting.name), body)
    return json.loads(answer)["outputs"]["outputs"] if status == 200 else None


def _encoded(text):
    """Text or bytes as JSON has them, whatever they are."""
    text = text if isinstance(text, bytes) else text.encode()
    return {"b64": base64.b64encode(text).decode()}


async def _is_ready(setting):
    connection = Connection(setting.address)
    try:
        return (await connection.ask("/readyz"))[0] == 200
    except (OSError, EOFError):
        return False
    finally:
        connection.close()


async def _is_served(setting, number):
    connection = Connection(setting.address)
    path = f"/v1/models/{setting.name}/versions/{number}"
    status, answer = await connection.ask(path)
    connection.close()
    return status == 200 and b'"AVAILABLE"' in answer


async def _until(is_so, seconds=300.0):
    end = time.monotonic() + seconds
    while not await is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"Not so after {seconds:g} s.")
        await asyncio.sleep(0.1)
