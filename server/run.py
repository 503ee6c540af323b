"""Runs the server: listens, waits for a signal, drains and ends."""

import asyncio
import contextlib
import dataclasses
import logging
import resource
import signal
import socket

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.app import Service
from server.batcher import BatchOptions
from server.limits import Limits
from server.model_folder import find_model
from server.security import is_loopback

_LOG = logging.getLogger(__name__)
_INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
_KEEP_ALIVE_SECONDS = 30  # an idle connection stays open
_OTHER_FILES = 256  # open beside connections
_HEADERS_SECONDS = 10.0  # a request's headers come within
_HEADERS_BYTES = 64 * 1024  # and have so many bytes at most


@dataclasses.dataclass(frozen=True)
class ServeOptions:
    """What `serve` needs to know."""

    model_dir: str
    host: str = "127.0.0.1"
    port: int = 8501  # 0 for any that is free
    name: str | None = None
    token: str | None = None
    open: bool = False  # whether others may ask without a token
    batching: BatchOptions = BatchOptions()
    limits: Limits = Limits()
    max_connections: int = 4000
    keep_versions: int = 1
    poll_seconds: float = 2.0
    drain_seconds: float = 30.0  # to finish what is asked, after SIGTERM
    sample_routing: float = 0.01

    def __post_init__(self):
        if not is_loopback(self.host) and not (self.token or self.open):
            raise ValueError(
                f"--host={self.host} lets other machines ask. Set a token, in "
                "the file --token_file names or in MOE_SERVE_TOKEN, or say "
                "--open to let everybody in."
            )


def serve(options):
    """Serves a model until SIGTERM or Ctrl-C.

    Args:
        options: `ServeOptions`.

    Returns:
        The exit code: 0 after SIGTERM, 130 after Ctrl-C.

    Raises:
        ValueError: if there is nothing to serve, or it cannot be loaded.
        OSError: if the port is taken.
    """
    folder = find_model(options.model_dir)
    service = Service(
        folder,
        options.name,
        options.batching,
        options.limits,
        options.token,
        is_loopback(options.host),
        options.keep_versions,
        options.poll_seconds,
        options.sample_routing,
    )
    _allow_open_files(options.max_connections)
    with _listening(options.host, options.port) as listener:
        return uvloop.run(_serve(service, listener, options))


def _allow_open_files(connections):
    """Raises the limit of open files, if connections may need more of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _listening(host, port):
    """Context manager: a socket; a port that is taken is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server(
            (host, port), family=family, backlog=1024
        )
    except OSError as error:
        raise OSError(
            f"Cannot listen on {host}, port {port}: {error.strerror}"
        ) from None
    with listener:
        yield listener


async def _serve(service, listener, options):
    server = make_server(
        service.app, options.max_connections, options.drain_seconds
    )
    ending = {"code": 0}

    def end(code):
        ending["code"] = code
        service.is_draining = True
        server.should_exit = True

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end, 0)
    loop.add_signal_handler(signal.SIGINT, end, _INTERRUPTED)
    telling = asyncio.create_task(_tell_when_ready(service, listener, end))
    await server.serve(sockets=[listener])
    telling.cancel()
    return ending["code"]


def make_server(app, max_connections=4000, drain_seconds=30.0):
    """Makes the HTTP server of an ASGI application; signals are not its own."""
    # It would write paths; `access_log=False` leaves it on without log_config.
    logging.getLogger("uvicorn.access").disabled = True
    return _Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            loop="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=max_connections,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=drain_seconds,
        )
    )


async def _tell_when_ready(service, listener, end):
    """Says where the model is; ends the server if there will be none."""
    await service.versions.first_look.wait()
    version = service.versions.current
    if version is None:
        _LOG.error("No version could be loaded")
        end(1)
        return
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    _LOG.info(
        "Serving version %d of %s at http://%s:%d/",
        version.number,
        service.name,
        host,
        port,
    )


class _Server(uvicorn.Server):
    """Leaves signals to `serve`: uvicorn would end by the signal itself."""

    @contextlib.contextmanager
    def capture_signals(self):
        yield


class _Protocol(HttpToolsProtocol):
    """Sends answers at once, and waits for headers neither long nor for many.

    uvicorn waits for the headers of a request for ever once the connection is
    open or their first byte has come, whatever their size. asyncio turns
    Nagle's algorithm off for sockets of its own alone; with it the body of an
    answer waits until its headers are acknowledged, 40 ms later.
    """

    _timer = None
    _has_headers = False  # of the request whose body is coming
    _bytes = 0  # of headers that are not complete

    def connection_made(self, transport):
        super().connection_made(transport)
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait_for_headers()

    def data_received(self, data):
        if not self._has_headers:
            self._bytes += len(data)
            if self._timer is None:
                self._wait_for_headers()
        super().data_received(data)
        if self._bytes > _HEADERS_BYTES:
            self.send_400_response(f"Headers over {_HEADERS_BYTES} bytes.")

    def on_headers_complete(self):
        self._stop_waiting()
        self._has_headers, self._bytes = True, 0
        super().on_headers_complete()

    def on_message_complete(self):
        self._has_headers = False
        super().on_message_complete()

    def connection_lost(self, exc):
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_headers(self):
        self._timer = self.loop.call_later(
            _HEADERS_SECONDS, self._close_if_idle
        )

    def _stop_waiting(self):
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _close_if_idle(self):
        is_answered = self.cycle is None or self.cycle.response_complete
        if not self._has_headers and is_answered:
            self.transport.close()
