"""Who may ask, and what browsers are told of the answers.

Layers around the application, in plain ASGI.
"""

import hmac
import ipaddress
import urllib.parse

from starlette.datastructures import Headers

from server.answers import error_answer

# Nothing but the page's own files, and no other page may hold it.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
# The report has its style and its pictures in itself, and no script.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
# As ASGI has headers: pairs of bytes, names in lower case.
_HEADERS = [
    (b"content-security-policy", PAGE_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class SecurityHeaders:
    """Adds headers to every answer; its own stay as they are."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                names = {name for name, _ in own}
                more = (pair for pair in _HEADERS if pair[0] not in names)
                message = {**message, "headers": [*own, *more]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Guard:
    """Lets those in who may ask.

    With a token every path needs `Authorization: Bearer TOKEN`, but those that
    are free. Without one, and bound to this machine alone, requests must be
    addressed to it by such a name: a web page whose own name was made to lead
    to 127.0.0.1 stays out. Requests that a browser sends for another site are
    always refused.

    Args:
        app: ASGI application.
        token: str or None.
        only_local: bool. Whether the server is bound to this machine alone.
        free: Paths that need no token.
    """

    def __init__(self, app, token, only_local, free):
        self._app = app
        self._token = token and token.encode()
        self._check_host = only_local and token is None
        self._free = frozenset(free)

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["path"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, path, headers):
        host = headers.get("host", "")
        if self._check_host and not _is_local(host):
            return error_answer(
                403, "This server answers to the names of this machine only"
            )
        if _is_of_other_site(headers, host):
            return error_answer(403, "Requests of other sites are refused")
        if self._token and path not in self._free:
            if not self._is_authorized(headers.get("authorization", "")):
                return error_answer(
                    401,
                    "Authorization: Bearer TOKEN is missing or wrong",
                    {"WWW-Authenticate": "Bearer"},
                )
        return None

    def _is_authorized(self, header):
        scheme, _, given = header.partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self._token)
        return scheme.lower() == "bearer" and same


def _is_of_other_site(headers, host):
    """Whether a browser says that a page of another site asks."""
    origin = headers.get("origin")
    if origin is not None:
        return urllib.parse.urlsplit(origin).netloc.lower() != host.lower()
    # Of a navigation, as by a link, nothing can be read.
    is_navigation = headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site") == "cross-site" and not is_navigation


def _is_local(host):
    """Whether a Host header names this machine; none comes from no browser.

    >>> [_is_local(x) for x in ("localhost:8501", "[::1]:80", "evil.example")]
    [True, True, False]
    """
    if not host:
        return True
    try:
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def is_loopback(host):
    """Whether an address is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
