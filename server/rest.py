"""The REST interface of TensorFlow Serving.

https://www.tensorflow.org/tfx/serving/api_rest: status of a model, its
metadata, and predictions.
"""

import functools
import re
import time

from starlette.responses import JSONResponse

from server.answers import error_answer, json_answer
from server.batcher import Job
from server.errors import ServingError, bad_request
from server.json_tensors import format_answer, parse_request
from server.limits import read_body

_WHICH = (
    r"/v1/models/(?P<name>[^/:]+)"
    r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
)
_PREDICT = re.compile(_WHICH + r":predict", re.IGNORECASE)
_STATUS = re.compile(_WHICH + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_LARGEST_VERSION = 2**63 - 1
PREFIX = "/v1/"


class Rest:
    """Answers requests under `/v1/`.

    Args:
        name: str. The name of the model.
        versions: `Versions`.
        batcher: `Batcher`.
        limits: `Limits`.
        traffic: `Traffic`.
    """

    def __init__(self, name, versions, batcher, limits, traffic):
        self._name = name
        self._versions = versions
        self._batcher = batcher
        self._limits = limits
        self._traffic = traffic

    async def answer(self, request):
        """Answers a `starlette.requests.Request`."""
        try:
            return await self._answer(request)
        except ServingError as error:
            headers = {}
            if error.retry_after is not None:
                headers["Retry-After"] = str(error.retry_after)
            if error.status == 413:
                headers["Connection"] = "close"  # the rest is not read
            return error_answer(error.status, error.message, headers)

    async def _answer(self, request):
        path = request.scope["path"]
        if request.method == "POST" and (match := _PREDICT.fullmatch(path)):
            request.state.facts["route"] = "predict"
            number = self._number(match)
            return await self._predict(request, number)
        if request.method in ("GET", "HEAD") and (
            match := _STATUS.fullmatch(path)
        ):
            is_metadata = match["metadata"] is not None
            request.state.facts["route"] = (
                "metadata" if is_metadata else "status"
            )
            number = self._number(match)
            return (
                self._metadata(number) if is_metadata else self._status(number)
            )
        raise bad_request(f"Malformed request: {request.method} {path}")

    def _number(self, match):
        """The version that is asked for, or None."""
        if match["name"] != self._name:
            raise ServingError(
                404,
                "Servable not found for request: "
                f"Latest({match['name']}); this server has {self._name}",
            )
        if match["label"] is not None:
            raise bad_request(
                f"Unrecognized servable version label: {match['label']}"
            )
        if match["version"] is None:
            return None
        number = int(match["version"])
        if number > _LARGEST_VERSION:
            raise bad_request(
                f"Failed to convert version: {match['version']} to numeric."
            )
        return number

    def _status(self, number):
        statuses = self._versions.statuses(number)
        return JSONResponse({"model_version_status": statuses})

    def _metadata(self, number):
        with self._versions.use(number) as version:
            return JSONResponse(
                {
                    "model_spec": {
                        "name": self._name,
                        "signature_name": "",
                        "version": str(version.number),
                    },
                    "metadata": {
                        "signature_def": {
                            "signature_def": version.model.metadata
                        }
                    },
                }
            )

    async def _predict(self, request, number):
        started = time.monotonic()
        body = await read_body(request, self._limits)
        facts = request.state.facts
        with self._versions.use(number) as version:
            asked = parse_request(body, version.model.signature)
            self._limits.check(asked.columns)
            job = Job(version.model, asked.signature, asked.columns)
            facts.update(
                signature=asked.signature.name,
                version=version.number,
                rows=job.rows,
            )
            spent = time.monotonic() - started
            outputs = await self._batcher.run(
                job,
                max(0.0, self._limits.timeout - spent),
                functools.partial(_left, request.receive),
            )
            answer = format_answer(outputs, asked.in_rows)
            self._traffic.count(
                version.model, asked.signature.name, asked.columns, outputs
            )
        return json_answer(answer)


async def _left(receive):
    """Ends when the client closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
