"""One line of JSON for each request, and its counts.

Nothing of a request is written but which route it took and how large it was:
no path, no text, no address.
"""

import json
import sys
import time
import traceback

from server.answers import error_answer

# Routes of the paths that are not under /v1/.
_ROUTES = {
    "/": "page",
    "/page.css": "page",
    "/page.js": "page",
    "/see.js": "page",
    "/about": "about",
    "/report": "report",
    "/healthz": "healthz",
    "/readyz": "readyz",
    "/metrics": "metrics",
}


def write_line(facts):
    """Writes a dict as a line of JSON on stdout."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class AccessLog:
    """The outermost layer: what goes wrong within becomes status 500.

    Args:
        app: ASGI application. It may add to `request.state.facts`: `route`,
            and for predictions `signature`, `version` and `rows`.
        metrics: `Metrics`.
        write: Function of a dict.
    """

    def __init__(self, app, metrics, write=write_line):
        self._app = app
        self._metrics = metrics
        self._write = write

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts = {"route": _ROUTES.get(scope["path"], "other")}
        scope["state"] = {**scope.get("state", {}), "facts": facts}
        seen = {"status": None, "bytes_in": 0, "bytes_out": 0}
        started = time.monotonic()

        async def counting_receive():
            message = await receive()
            seen["bytes_in"] += len(message.get("body", b""))
            return message

        async def counting_send(message):
            seen["status"] = message.get("status", seen["status"])
            seen["bytes_out"] += len(message.get("body", b""))
            await send(message)

        error = None
        try:
            await self._app(scope, counting_receive, counting_send)
        # A request must not end the server, whatever it met.
        except Exception as caught:
            error = caught
            if seen["status"] is None:
                answer = error_answer(500, "Internal error")
                await answer(scope, counting_receive, counting_send)
        finally:
            seconds = time.monotonic() - started
            self._tell(scope["method"], facts, seen, seconds, error)

    def _tell(self, method, facts, seen, seconds, error):
        signature = facts.get("signature", "")
        labels = facts["route"], signature
        self._metrics.requests.labels(*labels, seen["status"] or 499).inc()
        self._metrics.seconds.labels(*labels).observe(seconds)
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "method": method if method in ("GET", "HEAD", "POST") else "other",
            **facts,
            **seen,
            "ms": round(1000 * seconds, 1),
        }
        if error is not None:
            # The places, and not the message, which may hold what was sent.
            line["error"] = type(error).__name__
            line["places"] = [
                f"{frame.filename}:{frame.lineno}"
                for frame in traceback.extract_tb(error.__traceback__)[-3:]
            ]
        self._write(line)
