"""Joins requests that wait together into one call of the model.

All of it runs in one event loop, except the calls themselves. A request waits
in a queue for a free thread. A thread takes the first in the queue and those
behind it that may share its call, up to a number of rows.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
import math
import time

import numpy as np
import tensorflow as tf

from server.errors import ServingError, from_tensorflow
from server.saved_model import Cancellation
from server.signature import LENGTHS

# Strings up to so many bytes share a call; longer ones do with those that are
# less than twice as long: every row of a call is padded to the longest.
_SHORT_BYTES = 512

# A call waits for others no longer than this share of the time of the last.
_PATIENCE = 0.25


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """How requests are joined."""

    max_rows: int = 64  # of a call that several requests share
    # Seconds without another request, after which a call waits for no more.
    delay: float = 0.005
    threads: int = 1  # calls at the same time
    max_waiting: int = 512  # rows in the queue


class Job:
    """A request in the queue or in a call.

    Args:
        version: What is called: has `call` as `SavedModel`.
        signature: `Signature`.
        columns: dict of arrays by names of inputs.
    """

    def __init__(self, version, signature, columns):
        self.version = version
        self.signature = signature
        sizes = [len(x) for x in columns.values() if x.ndim]
        # One value may go for all rows, also where there is none.
        self.rows = 0 if 0 in sizes else max(sizes, default=1)
        self.columns = columns
        self.size_class = _size_class(columns)
        self.key = self._key()
        self.created = time.monotonic()
        self.result = asyncio.get_running_loop().create_future()
        self.call = None  # `_Call` while it runs
        self.is_alone = self.key is None  # shares no call

    @property
    def is_long(self):
        return self.size_class > 0

    def _key(self):
        """What requests of one call have in common; None for no other."""
        if not self.signature.is_joinable or self.rows == 0:
            return None
        if any(len(x) not in (1, self.rows) for x in self.columns.values()):
            return None
        options = [np.unique(self.columns[n]) for n in self.signature.options]
        if any(len(values) > 1 for values in options):
            return None  # rows of several options share a call by themselves
        shapes = tuple(x.shape[1:] for x in self.columns.values())
        return (
            id(self.version),
            self.signature.name,
            shapes,
            tuple(values.tobytes() for values in options),
            self.size_class,
        )


def _size_class(columns):
    texts = (x for x in columns.values() if x.dtype == object)
    longest = max((len(s) for x in texts for s in x.ravel()), default=0)
    return max(0, (longest // _SHORT_BYTES).bit_length())


class _Call:
    """Jobs that a thread runs together."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.rows = sum(job.rows for job in jobs)
        self.cancellation = Cancellation()
        self.is_long = jobs[0].is_long

    def run(self):
        first = self.jobs[0]
        columns = first.columns
        if len(self.jobs) > 1:
            columns = {
                name: np.concatenate(
                    [_full(job.columns[name], job.rows) for job in self.jobs]
                )
                for name in columns
            }
        found = first.version.call(
            first.signature.name, columns, self.cancellation
        )
        return self._shared_out(found)

    def _shared_out(self, found):
        """The outputs of each job."""
        if not self.jobs[0].signature.is_joinable:
            return [found]
        ends = np.cumsum([job.rows for job in self.jobs])
        for name, array in found.items():
            if len(array) != ends[-1]:
                raise ValueError(
                    f"Output {name} has {len(array)} rows for {ends[-1]}."
                )
        return [
            _without_padding(
                job.signature,
                {name: x[end - job.rows : end] for name, x in found.items()},
            )
            for job, end in zip(self.jobs, ends, strict=True)
        ]


def _without_padding(signature, rows):
    """The outputs of a job, no wider than the longest of its own rows."""
    if not signature.padded_outputs:
        return rows
    width = int(np.max(rows[LENGTHS], initial=0))
    return rows | {n: rows[n][:, :width] for n in signature.padded_outputs}


def _full(array, rows):
    """An input with an entry for each row: one may go for all."""
    return np.repeat(array, rows, axis=0) if len(array) < rows else array


class Batcher:
    """Queue and threads.

    Args:
        options: `BatchOptions`.
        on_call: Function of rows, requests and seconds of each call.
    """

    def __init__(self, options, on_call=lambda rows, requests, seconds: None):
        self.options = options
        self._on_call = on_call
        self._queue = collections.deque()
        self._running = set()
        self._crowded = False  # whether the last call was shared
        # What the last call left behind when it ended: see `_remember`.
        self._ended, self._took, self._expected_rows = 0.0, 0.0, 0
        self._timer = None
        self._seconds_per_row = 0.0
        self._threads = concurrent.futures.ThreadPoolExecutor(
            options.threads, "call"
        )

    @property
    def waiting_rows(self):
        return sum(job.rows for job in self._queue)

    @property
    def is_idle(self):
        """Whether no call runs and none waits."""
        return not self._running and not self._queue

    async def run(self, job, timeout, gone):
        """Answers a job.

        Args:
            job: `Job`.
            timeout: float. Seconds.
            gone: Coroutine function that ends when nobody waits for the
                answer.

        Returns:
            dict of arrays by names of outputs.

        Raises:
            ServingError: 429 if the queue is full, 504 after the time-out, 499
                if nobody waits any more, or what the model says.
        """
        waiting = self.waiting_rows
        if self._queue and waiting + job.rows > self.options.max_waiting:
            raise ServingError(
                429,
                f"The queue is full: {waiting} rows wait, and the limit is "
                f"{self.options.max_waiting} (--max_waiting)",
                retry_after=self._seconds_to_wait(waiting),
            )
        self._queue.append(job)
        self._start_calls()
        leaving = asyncio.ensure_future(gone())
        try:
            done, _ = await asyncio.wait(
                {job.result, leaving},
                timeout=timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if job.result in done:
                return job.result.result()
        finally:
            leaving.cancel()
            self._abandon(job)
        if leaving in done:
            raise ServingError(499, "The client closed the request")
        raise ServingError(
            504, f"Timed out after {timeout:.1f} s (--timeout_seconds)"
        )

    def close(self):
        """Ends what still runs."""
        for call in self._running:
            call.cancellation.cancel()
        self._threads.shutdown()

    def _seconds_to_wait(self, rows):
        seconds = self._seconds_per_row * rows / self.options.threads
        return min(max(1, math.ceil(seconds)), 60)

    def _abandon(self, job):
        """Takes a job whose answer nobody will read out of queue or call."""
        if job.result.done():
            return
        job.result.cancel()
        if job.call is None:
            self._queue.remove(job)
        elif all(other.result.done() for other in job.call.jobs):
            job.call.cancellation.cancel()

    def _start_calls(self):
        """Starts calls while there are free threads and jobs for them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while len(self._running) < self.options.threads:
            jobs = self._next_jobs()
            if not jobs:
                return
            seconds = self._seconds_to_join(jobs)
            if seconds > 0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(seconds, self._start_calls)
                return
            for job in jobs:
                self._queue.remove(job)
            self._start(_Call(jobs))

    def _seconds_to_join(self, jobs):
        """How long jobs are to wait for others that may share their call.

        Clients that have just been answered ask again within moments, and
        those answered together are best called together again. So a call
        waits until as many rows are there as were under way when the last one
        ended, until no other request came for `delay`, or until waiting has
        taken a quarter of the time of a call.
        """
        rows = sum(job.rows for job in jobs)
        others = self._crowded or self._running
        if jobs[0].is_alone or not others:
            return 0.0
        if rows >= min(self.options.max_rows, self._expected_rows):
            return 0.0
        delay = self.options.delay
        quiet = max(jobs[-1].created, self._ended) + delay
        patience = max(jobs[0].created, self._ended) + max(
            delay, _PATIENCE * self._took
        )
        return min(quiet, patience) - time.monotonic()

    def _remember(self, call, seconds):
        """Notes how long a call took, and how many rows may come next."""
        self._ended, self._took = time.monotonic(), seconds
        self._expected_rows = call.rows + self.waiting_rows

    def _next_jobs(self):
        """The first job that may start, and those that may share its call."""
        long_calls = sum(call.is_long for call in self._running)
        # One thread is kept for short texts, so that they never wait for
        # long ones alone.
        long_may = long_calls < max(1, self.options.threads - 1)
        jobs, rows = [], 0
        for job in self._queue:
            if not jobs:
                if job.is_long and not long_may:
                    continue
                jobs, rows = [job], job.rows
                if job.is_alone:
                    break
            elif (
                job.key == jobs[0].key
                and not job.is_alone
                and rows + job.rows <= self.options.max_rows
            ):
                jobs.append(job)
                rows += job.rows
        return jobs

    def _start(self, call):
        self._crowded = len(call.jobs) > 1
        self._running.add(call)
        for job in call.jobs:
            job.call = call
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, call.run)
        future.add_done_callback(lambda x: self._end(call, x, started))

    def _end(self, call, future, started):
        self._running.discard(call)
        seconds = time.monotonic() - started
        self._on_call(call.rows, len(call.jobs), seconds)
        self._remember(call, seconds)
        per_row = seconds / max(1, call.rows)
        self._seconds_per_row += 0.2 * (per_row - self._seconds_per_row)
        error = future.exception()
        if error is None:
            self._answer(call, future.result())
        elif len(call.jobs) > 1:
            self._try_alone(call)
        else:
            self._fail(call.jobs[0], error)
        self._start_calls()

    def _answer(self, call, answers):
        for job, answer in zip(call.jobs, answers, strict=True):
            if not job.result.done():
                job.result.set_result(answer)

    def _try_alone(self, call):
        """A shared call failed: one of its jobs may be the only reason."""
        for job in reversed(call.jobs):
            if not job.result.done():
                job.call = None
                job.is_alone = True
                self._queue.appendleft(job)

    def _fail(self, job, error):
        if job.result.done():
            return
        if isinstance(error, tf.errors.OpError):
            error = from_tensorflow(error)
        job.result.set_exception(error)
