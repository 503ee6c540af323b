"""Ending a run cleanly when someone asks for it.

SIGTERM is what a batch system or a container sends before it kills, SIGINT
is Ctrl-C. Python would run a handler between any two lines, also while the
averaged weights are being swapped; so the handler only takes a note, and the
run asks for it where it can stop.
"""

import contextlib
import signal
import threading

# What they do in a program of Python that does not mind them.
_BY_DEFAULT = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


class Interrupted(Exception):
    """Someone asked the run to end.

    Attributes:
        signal: `signal.Signals`.
        exit_code: int. 130 after Ctrl-C, 143 after SIGTERM, as shells have
            it.
    """

    def __init__(self, number):
        self.signal = signal.Signals(number)
        self.exit_code = 128 + number
        super().__init__(self.signal.name)


class Terminated(BaseException):
    """SIGTERM, as KeyboardInterrupt is Ctrl-C: no error, so no `Exception`."""


@contextlib.contextmanager
def sigterm_raises():
    """Context manager: SIGTERM raises `Terminated` wherever the program is.

    What is half done is given up as after an error. `Interruption` is for
    blocks that come to a good place first. A second one ends the process.

    Example:

    >>> try:
    ...     with sigterm_raises():
    ...         signal.raise_signal(signal.SIGTERM)
    ... except Terminated:
    ...     print("ended")
    ended
    """

    def end(number, frame):
        signal.signal(number, handler)
        raise Terminated

    handler = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or handler != signal.SIG_DFL:  # ignored, say
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


class Interruption:
    """Context manager: notes signals; `check` raises at a good time.

    A second signal of the same kind does what it does by default.

    Example:

    >>> import os
    >>> with Interruption() as interruption:
    ...     interruption.check()
    ...     os.kill(os.getpid(), signal.SIGTERM)
    ...     try:
    ...         interruption.check()
    ...     except Interrupted as interrupted:
    ...         print(interrupted, interrupted.exit_code)
    SIGTERM 143
    """

    def __init__(self):
        self.received = None  # number of the signal that has come
        self._handlers = {}

    def check(self):
        """Raises `Interrupted` if a signal has come."""
        if self.received is not None:
            raise Interrupted(self.received)

    def __enter__(self):
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in _BY_DEFAULT:
                handler = signal.getsignal(number)
                if handler != signal.SIG_IGN:  # as Ctrl-C in the background
                    self._handlers[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        self.received = number
        signal.signal(number, _BY_DEFAULT[number])
