"""The application: routes, and what they share."""

import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server import metrics as metrics_module
from server import page
from server.access_log import AccessLog, write_line
from server.answers import error_answer
from server.batcher import Batcher, BatchOptions
from server.errors import ServingError
from server.limits import Limits
from server.metrics import Metrics
from server.model_folder import model_name
from server.rest import PREFIX, Rest
from server.security import Guard, SecurityHeaders
from server.traffic import Traffic
from server.versions import Versions

# What an orchestrator asks, without a token.
_PROBES = ("/healthz", "/readyz")


class Service:
    """A model behind HTTP; `app` is the ASGI application.

    Args:
        folder: `ModelFolder`.
        name: str or None for `model_name`.
        batching: `BatchOptions`.
        limits: `Limits`.
        token: str or None.
        only_local: bool. Whether only this machine can reach the server.
        keep_versions: int. Versions that are served at a time.
        poll_seconds: float. How often to look for new versions.
        sample: float. Share of the requests whose routing is counted.
        write: Function of a dict, for the access log.
    """

    def __init__(
        self,
        folder,
        name=None,
        batching=None,
        limits=None,
        token=None,
        only_local=True,
        keep_versions=1,
        poll_seconds=2.0,
        sample=0.01,
        write=write_line,
    ):
        self.name = name or model_name(folder)
        self.is_draining = False
        self.metrics = Metrics()
        self.versions = Versions(
            folder, self.name, keep_versions, self.metrics.count_version
        )
        self.batcher = Batcher(
            batching or BatchOptions(), self.metrics.count_call
        )
        self.metrics.waiting.set_function(lambda: self.batcher.waiting_rows)
        limits = limits or Limits()
        self._poll_seconds = poll_seconds
        self._traffic = Traffic(
            self.metrics, sample, lambda: self.batcher.is_idle
        )
        self._rest = Rest(
            self.name, self.versions, self.batcher, limits, self._traffic
        )
        self._about = page.About(self.name, folder, self.versions, limits)
        self._report = page.Report(folder)
        inner = Starlette(
            routes=self._routes(),
            lifespan=self._lifespan,
            exception_handlers={
                ServingError: _told,
                404: _no_such_path,
                Exception: _failed,
            },
        )
        free = (*page.FILES, *_PROBES)
        guarded = Guard(inner, token, only_local, free)
        self.app = AccessLog(SecurityHeaders(guarded), self.metrics, write)

    def _routes(self):
        files = [
            Route(path, _constant(content, media_type))
            for path, (content, media_type) in page.read_files().items()
        ]
        predictions = Route(
            PREFIX + "{rest:path}", self._rest.answer, methods=["GET", "POST"]
        )
        return [
            predictions,  # first: paths are compared in this order
            *files,
            Route("/about", self._about.answer),
            Route("/report", self._report.answer),
            Route("/healthz", _healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
        ]

    @contextlib.asynccontextmanager
    async def _lifespan(self, app):
        watching = asyncio.create_task(self.versions.watch(self._poll_seconds))
        yield
        watching.cancel()
        self.batcher.close()
        self._traffic.close()
        self.versions.close()

    async def _readyz(self, request):
        is_ready = self.versions.current is not None and not self.is_draining
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    async def _metrics(self, request):
        return Response(
            self.metrics.text(), media_type=metrics_module.CONTENT_TYPE
        )


def _constant(content, media_type):
    async def answer(request):
        return Response(content, media_type=media_type)

    return answer


async def _healthz(request):
    return JSONResponse({"alive": True})


async def _told(request, error):
    return error_answer(error.status, error.message)


async def _no_such_path(request, error):
    return error_answer(404, "There is nothing at this path")


async def _failed(request, error):
    return error_answer(500, "Internal error")
