"""The versions of a model: found, loaded, warmed up, switched, let go.

One folder holds all versions, named by their numbers. The newest that can be
loaded answers requests. A newer one is loaded and warmed up beside it; from
then on requests go there, and the older one is let go when its last request
is answered. A version that cannot be loaded changes nothing for the others.
"""

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import time

from server.errors import ServingError
from server.saved_model import SavedModel

# States of a version, as TensorFlow Serving names them.
LOADING, AVAILABLE, UNLOADING, END = (
    *("LOADING", "AVAILABLE"),
    *("UNLOADING", "END"),
)
_LOG = logging.getLogger(__name__)


class Version:
    """One version and what is known of it."""

    def __init__(self, number, fingerprint):
        self.number = number
        self.fingerprint = fingerprint
        self.state = LOADING
        self.error = ""  # why it cannot be loaded
        self.model = None  # `SavedModel` while it is available
        self.requests = 0  # that use it now

    def status(self):
        """Returns the status as TensorFlow Serving tells it."""
        return {
            "version": str(self.number),
            "state": self.state,
            "status": {
                "error_code": "UNKNOWN" if self.error else "OK",
                "error_message": self.error,
            },
        }


class Versions:
    """Keeps the newest versions of a folder in memory.

    Args:
        folder: `ModelFolder`.
        name: str. The name of the model, for messages.
        keep: int. How many versions are served at a time.
        on_change: Function of a `Version`, called after it is loaded, found
            broken or let go.
        load: Function of a path that gives a `SavedModel`.
    """

    def __init__(
        self,
        folder,
        name,
        keep=1,
        on_change=lambda version: None,
        load=SavedModel,
    ):
        self.folder = folder
        self.name = name
        self._keep = keep
        self._on_change = on_change
        self._load = load
        self._known = {}  # `Version` by number
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "load")
        self.first_look = asyncio.Event()  # set once `current` is settled

    @property
    def current(self):
        """The newest `Version` that is available, or None."""
        found = self._available()
        return found[-1] if found else None

    def statuses(self, number=None):
        """Returns the status of each version, newest first.

        Raises:
            ServingError: 404, if there is none, or not this one.
        """
        numbers = sorted(self._known, reverse=True)
        if number is not None:
            numbers = [n for n in numbers if n == number]
        if not numbers:
            which = "any versions" if number is None else f"version {number}"
            raise ServingError(
                404, f"Could not find {which} of model {self.name}"
            )
        return [self._known[n].status() for n in numbers]

    @contextlib.contextmanager
    def use(self, number=None):
        """Context manager: a version that stays in memory meanwhile.

        Args:
            number: int or None for the newest.

        Yields:
            `Version`.

        Raises:
            ServingError: 404 if it is not available, 503 before the first
                version is.
        """
        version = self._find(number)
        version.requests += 1
        try:
            yield version
        finally:
            version.requests -= 1
            self._let_go_if_unused(version)

    async def watch(self, seconds):
        """Looks for new versions for ever, every so many seconds."""
        while True:
            try:
                await self.look()
            # Such as a folder that is out of reach for now: what is loaded
            # goes on, and so does the watch.
            except Exception as error:
                _LOG.error("Cannot look for versions: %s", _one_line(error))
            self.first_look.set()
            await asyncio.sleep(seconds)

    async def look(self):
        """Loads new versions, and lets go of those that are not wanted."""
        self._forget_what_is_gone()
        while missing := [
            number
            for number in self._wanted()
            if not self._is_available(number)
        ]:
            await self._take_up(missing[-1])
        wanted = self._wanted()
        for version in self._available():
            # Without a wanted version the last one stays.
            if wanted and version.number not in wanted:
                version.state = UNLOADING
                self._let_go_if_unused(version)

    def _find(self, number):
        if number is None and self.current:
            return self.current
        if number is not None and self._is_available(number):
            return self._known[number]
        is_first = self.current is None
        if is_first and any(v.state == LOADING for v in self._known.values()):
            raise ServingError(
                503, f"Model {self.name} is being loaded", retry_after=1
            )
        which = "Latest" if number is None else "Specific"
        version = "" if number is None else f", {number}"
        raise ServingError(
            404,
            f"Servable not found for request: {which}({self.name}{version})",
        )

    def _available(self):
        return [
            self._known[number]
            for number in sorted(self._known)
            if self._is_available(number)
        ]

    def _is_available(self, number):
        version = self._known.get(number)
        return version is not None and version.state == AVAILABLE

    def _wanted(self):
        """Numbers of the newest versions that are not known to be broken."""
        numbers = [
            number
            for number in self.folder.numbers()
            if number not in self._known or not self._known[number].error
        ]
        return numbers[-self._keep :]

    def _forget_what_is_gone(self):
        """Forgets broken versions that have changed, and old ones removed."""
        present = set(self.folder.numbers())
        for number, version in list(self._known.items()):
            if version.state != END:
                continue
            changed = version.fingerprint != self._fingerprint(number)
            if number not in present or (version.error and changed):
                del self._known[number]

    def _fingerprint(self, number):
        """What changes when a file of a version does."""
        folder = self.folder.path(number)
        try:
            stats = [(p, p.stat()) for p in sorted(folder.rglob("*"))]
        except OSError:  # it is being removed
            return None
        return [(str(p), s.st_size, s.st_mtime_ns) for p, s in stats]

    async def _take_up(self, number):
        version = Version(number, self._fingerprint(number))
        self._known[number] = version
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            model, count = await loop.run_in_executor(
                self._thread, self._load_and_warm_up, self.folder.path(number)
            )
        # Whatever is in a folder, the versions beside it go on.
        except Exception as error:
            version.state, version.error = END, _one_line(error)
            _LOG.error("Version %d cannot be loaded: %s", number, version.error)
        else:
            version.model, version.state = model, AVAILABLE
            _LOG.info(
                "Version %d is ready after %.1f s, with %d warm-up requests",
                number,
                time.monotonic() - started,
                count,
            )
        self._on_change(version)

    def _load_and_warm_up(self, path):
        model = self._load(path)
        return model, model.warm_up()

    def _let_go_if_unused(self, version):
        if version.state != UNLOADING or version.requests:
            return
        version.state, version.model = END, None
        _LOG.info("Version %d is let go", version.number)
        self._on_change(version)
        self._thread.submit(gc.collect)  # a SavedModel has circles

    def close(self):
        """Waits for the thread that loads."""
        self._thread.shutdown(cancel_futures=True)


def _one_line(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
