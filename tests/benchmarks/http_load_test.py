"""The clients of the benchmark, against a small server that works or not."""

import asyncio
import socket

import pytest
from small_served import save_version, serving

from server.batcher import BatchOptions


@pytest.fixture(scope="module")
def client(load):
    return load("http_load")


@pytest.fixture(scope="module")
def scenarios(load):
    return load("serving_scenarios")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    save_version(folder, 1)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with serving(folder) as (client, _, _):
        yield "127.0.0.1", client.port


def setting(scenarios, address, **changes):
    fields = {"texts": ["a", "b c"], "requests": 20, "odd": 40, "repeats": 1}
    return scenarios.Setting(address, "capitals", **fields | changes)


def test_only_this_machine_is_loaded(client):
    assert client.local_address("http://127.0.0.1:8501") == ("127.0.0.1", 8501)
    assert client.local_address("http://localhost:80/") == ("localhost", 80)
    for url in ("http://10.0.0.1:8501", "https://127.0.0.1", "http://a.test"):
        with pytest.raises(ValueError, match="one of this machine"):
            client.local_address(url)


class TestLoops:
    def test_closed_sends_so_many_requests(self, client, address):
        tally = asyncio.run(
            client.closed_loop(address, "capitals", ["a"], 3, 20)
        )
        assert tally.statuses == {200: 20}
        assert tally.sentences == len(tally.seconds) == 20

    def test_open_keeps_its_rate(self, client, address):
        tally = asyncio.run(
            client.open_loop(address, "capitals", ["a"], 50.0, 20)
        )
        assert tally.statuses == {200: 20}
        assert tally.elapsed >= 19 / 50.0  # the last is sent then

    def test_what_is_refused_or_gone_is_no_answer(self, client, address):
        found = asyncio.run(client.closed_loop(address, "no", ["a"], 1, 2))
        assert found.statuses == {404: 2} and found.sentences == 0
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = closed.getsockname()
        found = asyncio.run(client.closed_loop(nobody, "no", ["a"], 1, 2))
        assert found.statuses == {"gone": 2}

    def test_patient_clients_wait_for_a_server_that_is_gone(
        self, client, folder
    ):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]

        async def whole():
            done = asyncio.Event()
            asking = asyncio.create_task(
                client.patient_clients(
                    ("127.0.0.1", port), "capitals", ["a"], 2, done
                )
            )
            await asyncio.sleep(0.3)  # nobody is there
            answered = asyncio.Event()

            async def answer(reader, writer):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                answered.set()

            server = await asyncio.start_server(answer, "127.0.0.1", port)
            await answered.wait()
            done.set()
            tally = await asking
            server.close()
            return tally

        tally = asyncio.run(asyncio.wait_for(whole(), 60))
        assert set(tally.statuses) == {200} and tally.retried > 0


class TestFigures:
    def test_worked_by_hand(self, client):
        tally = client.Tally(
            statuses=client.collections.Counter({200: 3, 429: 1}),
            seconds=[0.1, 0.2, 0.3],
            sentences=3,
            elapsed=2.0,
        )
        figures = tally.figures()
        assert figures["sentences_per_second"] == 1.5
        assert figures["p50_ms"] == pytest.approx(200.0)
        # Between the second and the third, 98 % of the way.
        assert figures["p99_ms"] == pytest.approx(298.0)
        assert figures["statuses"] == {"200": 3, "429": 1}


class TestScenarios:
    def test_a_good_server_has_no_failures(self, scenarios, address):
        given = setting(scenarios, address)
        found = asyncio.run(scenarios.odd(given))
        assert found["failures"] == 0 and found["odd_strings"] == 40
        assert asyncio.run(scenarios.closed(given))["failures"] == 0
        assert given.capacity > 0
        given.capacity = 40.0
        assert asyncio.run(scenarios.half(given))["failures"] == 0

    def test_overload_counts_429_apart_and_looks_at_the_memory(
        self, scenarios, folder
    ):
        options = BatchOptions(max_waiting=1, max_rows=1)
        with serving(folder, batching=options) as (client, *_):
            given = setting(scenarios, ("127.0.0.1", client.port))
            given.capacity, given.requests = 5000.0, 200
            found = asyncio.run(scenarios.overload(given))
        assert found["statuses"]["429"] > 0 and found["failures"] == 0
        first, last = found["resident_bytes"]
        assert first > 0 and last > 0
