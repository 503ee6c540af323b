"""Limits of a request, and bodies up to them."""

import asyncio
import gzip

import numpy as np
import pytest
from starlette.requests import Request

from server.errors import ServingError
from server.limits import Limits, read_body

SMALL = Limits(max_body_bytes=20, max_rows=2, max_characters=3, timeout=0.2)


def read(*chunks, headers=(), complete=True):
    """The body that comes in these chunks."""
    messages = [
        {"type": "http.request", "body": chunk, "more_body": True}
        for chunk in chunks
    ]
    if complete:
        messages.append({"type": "http.request", "body": b""})
    messages = iter(messages)

    async def receive():
        for message in messages:
            return message
        await asyncio.Event().wait()

    raw = [(k.encode(), v.encode()) for k, v in dict(headers).items()]
    request = Request({"type": "http", "headers": raw}, receive)
    return asyncio.run(read_body(request, SMALL))


def status_of(*args, **kwargs):
    with pytest.raises(ServingError) as caught:
        read(*args, **kwargs)
    return caught.value.status, caught.value.message


class TestBodies:
    def test_up_to_the_limit(self):
        assert read(b"x" * 10, b"y" * 10) == b"x" * 10 + b"y" * 10

    def test_beyond_it_as_they_say_or_as_they_come(self):
        status, message = status_of(headers={"content-length": "21"})
        assert (status, "20 bytes (--max_body_bytes)" in message) == (413, True)
        assert status_of(b"x" * 10, b"y" * 11)[0] == 413

    def test_that_do_not_come(self):
        assert status_of(b"x", complete=False)[0] == 408

    def test_in_gzip(self):
        zipped = gzip.compress(b"a dog")
        headers = {"content-encoding": "gzip"}
        limits = Limits(max_body_bytes=len(zipped))
        assert len(zipped) > SMALL.max_body_bytes  # hence this one
        assert _read_with(limits, zipped, headers) == b"a dog"
        bomb = gzip.compress(bytes(10_000_000))
        with pytest.raises(ServingError) as caught:
            _read_with(Limits(max_body_bytes=len(bomb)), bomb, headers)
        assert caught.value.status == 413
        for broken in (zipped[:-9], b"no gzip"):
            with pytest.raises(ServingError) as caught:
                _read_with(limits, broken, headers)
            assert caught.value.status == 400

    def test_in_another_encoding(self):
        assert status_of(headers={"content-encoding": "br"})[0] == 415


def _read_with(limits, body, headers):
    async def receive():
        return {"type": "http.request", "body": body}

    raw = [(k.encode(), v.encode()) for k, v in headers.items()]
    request = Request({"type": "http", "headers": raw}, receive)
    return asyncio.run(read_body(request, limits))


class TestColumns:
    @pytest.mark.parametrize(
        "texts, said",
        [
            (["a", "b", "c"], "3 rows; the limit of a request is 2"),
            (["abcd"], "longer than the limit of 3 characters"),
            (["äöüx"], "longer than the limit of 3 characters"),
        ],
    )
    def test_beyond_a_limit(self, texts, said):
        with pytest.raises(ServingError, match=said) as caught:
            SMALL.check({"inputs": _column(texts)})
        assert caught.value.status == 400

    def test_characters_are_counted_and_not_bytes(self):
        SMALL.check({"inputs": _column(["äöü", "犬犬犬"])})
        SMALL.check({"ids": np.zeros([2, 100], np.int32)})


def _column(texts):
    array = np.empty(len(texts), object)
    array[:] = [text.encode() for text in texts]
    return array
