"""What users can mend is told in a line; the rest keeps its traceback."""

import signal

import pytest
import tensorflow as tf

from trainers.engine.bad_steps import TrainingError
from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.interruption import Interrupted
from trainers.engine.program.exit_codes import exit_codes

pytestmark = pytest.mark.usefixtures("foreground")


def end_of(error):
    with pytest.raises(SystemExit) as end, exit_codes():
        raise error
    return end.value.code


@pytest.mark.parametrize(
    "error",
    [
        ValueError("`k` is 0."),
        OSError("No such file."),
        TrainingError("The loss is NaN."),
        CheckpointError("It is torn."),
    ],
)
def test_error_that_can_be_mended_is_a_line(error):
    assert end_of(error) == f"Error: {error}"


def test_errors_of_tensorflow_are_told_without_their_graph():
    full = tf.errors.ResourceExhaustedError(None, None, "a/file; No space left")
    assert end_of(full).startswith("Error: ")
    gone = tf.errors.NotFoundError(None, None, "a/file; No such file")
    assert "a file cannot be read any more" in end_of(gone)


def test_what_nobody_can_mend_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), exit_codes():
        _ = 1 / 0


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_signals_have_the_codes_of_shells(number, code, capsys):
    assert end_of(Interrupted(number)) == code  # has said so itself
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as end, exit_codes():
        signal.raise_signal(number)
    assert end.value.code == code
    assert "Nothing that was saved is lost" in capsys.readouterr().err


def test_sigterm_ends_a_program_that_ignores_ctrl_c(capsys):
    # As nohup, cron and shells start what runs in the background.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(SystemExit) as end, exit_codes():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 143
    assert "Stopped by SIGTERM" in capsys.readouterr().err
