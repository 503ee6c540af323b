"""How much a request may ask for, and how its body is read."""

import asyncio
import dataclasses
import zlib

from server.errors import ServingError, bad_request


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of a request."""

    max_body_bytes: int = 1 << 20
    max_rows: int = 256  # sentences of a request
    max_characters: int = 10_000  # of a sentence
    timeout: float = 30.0  # seconds, from its first byte

    def check(self, columns):
        """Refuses columns that are too long.

        Args:
            columns: dict of arrays by names of inputs.

        Raises:
            ServingError: 400, naming the limit and its flag.
        """
        for name, array in columns.items():
            if array.ndim and len(array) > self.max_rows:
                raise bad_request(
                    f"{name} has {len(array)} rows; the limit of a request is "
                    f"{self.max_rows} (--max_rows)"
                )
            if array.dtype != object:
                continue
            for text in array.ravel():
                if self._is_too_long(text):
                    raise bad_request(
                        f"A text of {name} is longer than the limit of "
                        f"{self.max_characters} characters (--max_characters)"
                    )

    def _is_too_long(self, text):
        if len(text) <= self.max_characters:  # no character is less than a byte
            return False
        return len(text.decode("utf-8", "replace")) > self.max_characters


async def read_body(request, limits):
    """Reads the body of a request, as far as the limit.

    Args:
        request: `starlette.requests.Request`.
        limits: `Limits`.

    Returns:
        bytes, without the gzip that they may have come in.

    Raises:
        ServingError: 413 if it is too large, 408 if it does not come, 415 for
            another encoding, 400 for gzip that is broken.
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise ServingError(415, "Content-Encoding must be identity or gzip")
    length = request.headers.get("content-length", "0")
    if int(length) > limits.max_body_bytes:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.max_body_bytes:
                    raise _too_large(limits)
    except TimeoutError:
        raise ServingError(
            408,
            f"The body did not come within {limits.timeout:g} s "
            "(--timeout_seconds)",
        ) from None
    return _unzipped(body, limits) if encoding == "gzip" else bytes(body)


def _unzipped(body, limits):
    reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # gzip's header
    try:
        found = reader.decompress(body, limits.max_body_bytes + 1)
    except zlib.error:
        raise bad_request("The body is no gzip") from None
    if len(found) > limits.max_body_bytes:
        raise _too_large(limits)
    if not reader.eof:
        raise bad_request("The gzip of the body is cut off")
    return found


def _too_large(limits):
    return ServingError(
        413,
        "The body of the request is larger than the limit of "
        f"{limits.max_body_bytes} bytes (--max_body_bytes)",
    )
