"""Connections: how long headers may take, how many, and how answers leave."""

import asyncio
import contextlib
import socket

import pytest

from server import run

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _app(scope, receive, send):
    """Answers with the size of the body that came."""
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def _connected():
    """The server, and both ends of a connection to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = run.make_server(_app)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield server, reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


async def _answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].split()[0])
    return int(head.split()[1]), await reader.readexactly(size)


def _with_server(body):
    async def whole():
        async with _connected() as (server, reader, writer):
            await asyncio.wait_for(body(server, reader, writer), 20)

    asyncio.run(whole())


@pytest.fixture
def short_wait(monkeypatch):
    monkeypatch.setattr(run, "_HEADERS_SECONDS", 0.3)


@pytest.mark.parametrize("requests_before", [0, 1, 2])
def test_headers_that_do_not_end_end_the_connection(
    short_wait, requests_before
):
    async def body(server, reader, writer):
        for _ in range(requests_before):
            writer.write(REQUEST)
            assert await _answer(reader) == (200, b"0")
        writer.write(REQUEST[:10])
        assert await reader.read() == b""

    _with_server(body)


def test_a_body_may_take_longer_than_headers(short_wait):
    async def body(server, reader, writer):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
        writer.write(head + b"ab")
        await asyncio.sleep(0.6)  # twice as long as headers may take
        writer.write(b"cd")
        assert await _answer(reader) == (200, b"4")

    _with_server(body)


def test_headers_without_end_are_refused():
    async def body(server, reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        line = b"X-Filler: " + 1000 * b"x" + b"\r\n"
        for _ in range(70):  # 70,000 bytes, of 65,536
            writer.write(line)
        status, said = await _answer(reader)
        assert (status, said) == (400, b"Headers over 65536 bytes.")

    _with_server(body)


def test_a_long_body_is_not_taken_for_headers():
    async def body(server, reader, writer):
        size = 200_000
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
        writer.write(head.encode() + size * b"x")
        assert await _answer(reader) == (200, str(size).encode())
        writer.write(REQUEST)
        assert await _answer(reader) == (200, b"0")

    _with_server(body)


def test_answers_leave_without_waiting_for_an_acknowledgement():
    async def body(server, reader, writer):
        writer.write(REQUEST)
        await _answer(reader)
        (connection,) = server.server_state.connections
        opened = connection.transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    _with_server(body)
