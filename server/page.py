"""The page: some files of this package, what it shows, and the report."""

import asyncio
import importlib.resources
import sys
import tempfile

from starlette.responses import HTMLResponse, JSONResponse

from server.answers import error_answer
from server.model_folder import read_card
from server.security import REPORT_POLICY

_TYPES = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "see.js": "text/javascript",
}
# Paths and files; all of them may be read without a token, since nothing of
# the model is in them.
FILES = {"/": "index.html"} | {
    f"/{name}": name for name in ("page.css", "page.js", "see.js")
}
_REPORTED = ("routing.jsonl", "experts.json")  # what a report is made of


def read_files():
    """Returns the answers with the files of the page, by path."""
    folder = importlib.resources.files("server") / "static"
    return {
        path: ((folder / name).read_bytes(), _TYPES[name])
        for path, name in FILES.items()
    }


class About:
    """Tells the page what is served.

    Args:
        name: str. The name of the model.
        folder: `ModelFolder`.
        versions: `Versions`.
        limits: `Limits`.
    """

    def __init__(self, name, folder, versions, limits):
        self._name = name
        self._folder = folder
        self._versions = versions
        self._limits = limits

    async def answer(self, request):
        """Answers with signatures, languages, figures and loads, as JSON."""
        with self._versions.use() as version:
            path, number = version.model.path, version.number
            signatures = version.model.signatures
        found = await asyncio.to_thread(self._read, path)
        return JSONResponse(
            {
                "name": self._name,
                "version": number,
                "signatures": {
                    name: {
                        "inputs": _dtypes(signature.inputs),
                        "outputs": _dtypes(signature.outputs),
                    }
                    for name, signature in signatures.items()
                },
                "has_report": self._folder.run is not None,
                "max_rows": self._limits.max_rows,
                "max_characters": self._limits.max_characters,
                **found,
            }
        )

    def _read(self, version_path):
        """What the files beside the model say."""
        card = read_card(version_path)
        examples = card.get("examples") or []
        return {
            "pair": (card.get("data") or {}).get("pair", ""),
            "directions": card.get("directions", []),
            "target_languages": card.get("target_languages", []),
            "created": card.get("created", ""),
            "figures": card.get("figures") or {},
            "examples": [
                {
                    "text": example.get("source", ""),
                    "target": example.get("target", ""),
                }
                for example in examples
            ],
            "training_load": self._folder.training_load(),
            "specialties": self._folder.specialties(),
        }


def _dtypes(tensors):
    return {name: tensor.dtype for name, tensor in sorted(tensors.items())}


class Report:
    """The routing report of the run, drawn when it is asked for.

    A process of its own draws it: this one needs neither Keras nor matplotlib.

    Args:
        folder: `ModelFolder`.
    """

    def __init__(self, folder):
        self._run = folder.run
        self._drawn = None  # state of the files, page and reason of failure
        self._lock = asyncio.Lock()

    async def answer(self, request):
        """Answers with the page, or 404 and the reason that there is none."""
        if self._run is None:
            return error_answer(
                404, "There is no training run beside the model"
            )
        async with self._lock:
            state = self._state()
            if self._drawn is None or self._drawn[0] != state:
                self._drawn = state, *await _draw(self._run)
            _, page, reason = self._drawn
        if page is None:
            return error_answer(404, reason)
        return HTMLResponse(
            page, headers={"Content-Security-Policy": REPORT_POLICY}
        )

    def _state(self):
        files = (self._run / name for name in _REPORTED)
        return [file.stat().st_mtime_ns for file in files if file.is_file()]


async def _draw(run):
    """The report as HTML, or None and the reason why there is none."""
    with tempfile.NamedTemporaryFile(suffix=".html") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "moe_keras.report", str(run), f"--output={file.name}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        if process.returncode:
            lines = said.decode("utf-8", "replace").strip().splitlines()
            return None, lines[-1] if lines else "The report failed"
        return file.read().decode("utf-8"), None
