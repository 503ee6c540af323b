"""Signals are noted, and answered where it is safe."""

import signal
import threading

import pytest

from trainers.engine.interruption import (
    Interrupted,
    Interruption,
    Terminated,
    sigterm_raises,
)

pytestmark = pytest.mark.usefixtures("foreground")


@pytest.mark.parametrize("number, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_waits_for_the_check(number, code):
    with Interruption() as interruption:
        interruption.check()
        signal.raise_signal(signal.Signals[number])
        with pytest.raises(Interrupted, match=number) as caught:
            interruption.check()
    assert caught.value.exit_code == code


def test_second_ctrl_c_does_not_wait():
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_sigterm_outside_of_the_loop_ends_it_and_a_second_one_kills():
    with pytest.raises(Terminated):
        with sigterm_raises():
            with pytest.raises(Terminated):
                signal.raise_signal(signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            raise Terminated
    assert not issubclass(Terminated, Exception)  # no error handler takes it


def test_the_loop_within_comes_to_a_good_place_first():
    with sigterm_raises():
        outside = signal.getsignal(signal.SIGTERM)
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            with pytest.raises(Interrupted):
                interruption.check()
        assert signal.getsignal(signal.SIGTERM) == outside


def test_handlers_are_as_before_afterwards():
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_ignored_signal_stays_ignored():
    # A shell lets what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        interruption.check()


def test_outside_of_the_main_thread_there_is_nothing_to_note():
    caught = []

    def run():
        with Interruption() as interruption:
            caught.append(interruption.check())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == [None]
