"""The line of progress, worked by hand."""

import pytest

from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.progress import (
    Progress,
    format_metrics,
    format_parts,
    format_seconds,
)
from trainers.engine.train_step import StepResult


class Run:
    """A progress whose clock the test moves."""

    def __init__(self, start=0.0, shown=lambda means: means, **config):
        self.seconds, self.lines = start, []
        config = LoopConfig(**{"steps": 10, "log_every": 2, **config})
        self._progress = Progress(
            config, self.lines.append, self, "tokens", shown
        )

    def __float__(self):  # what a scalar variable of seconds gives
        return self.seconds

    def add(self, step, loss, tokens, seconds, **others):
        self.seconds += seconds
        result = StepResult(loss, tokens, 1.0, True, others)
        return self._progress.add(step, result)


def test_window_is_a_mean_over_its_tokens():
    run = Run()
    assert run.add(1, loss=1.0, tokens=10.0, seconds=1.5) is None
    figures = run.add(2, loss=4.0, tokens=30.0, seconds=0.5)
    # (10 * 1 + 30 * 4) / 40 = 3.25; 40 tokens in 2 s; 8 steps of 1 s left
    assert figures == {
        "loss": 3.25,
        "tokens_per_second": 20.0,
    }
    assert run.lines == ["step 2/10  loss 3.250  20 tokens/s  0:08 left"]


def test_other_means_are_shown_as_the_task_says():
    def shown(means):
        return {"double": 2 * means["right"], "loss": means["loss"]}

    run = Run(shown=shown)
    run.add(1, loss=9.0, tokens=10.0, seconds=1.0, right=1.0)
    figures = run.add(2, loss=9.0, tokens=30.0, seconds=1.0, right=2.0)
    # (10 * 1 + 30 * 2) / 40 = 1.75
    assert figures == {
        "double": 3.5,
        "loss": 9.0,
        "tokens_per_second": 20.0,
    }
    assert "  double 3.500  loss 9.000  " in run.lines[0]


def test_each_window_begins_anew():
    run = Run()
    run.add(1, 9.0, 10.0, 5.0)
    run.add(2, 9.0, 10.0, 5.0)
    run.add(3, 1.0, 10.0, 0.5)
    figures = run.add(4, 1.0, 10.0, 0.5)
    assert (figures["loss"], figures["tokens_per_second"]) == (1.0, 20.0)
    assert run.lines[1].endswith("0:03 left")  # 6 steps of 0.5 s


def test_last_step_is_written_in_any_case():
    run = Run(steps=3)
    assert [bool(run.add(step, 1.0, 1.0, 1.0)) for step in (1, 2, 3)] == [
        False,
        True,
        True,
    ]
    assert run.lines[-1].startswith("step 3/3") and "0:00 left" in run.lines[-1]


def test_time_limit_counts_when_it_comes_first():
    run = Run(steps=1000, max_minutes=1.0)
    run.add(1, 1.0, 1.0, 10.0)
    run.add(2, 1.0, 1.0, 10.0)
    assert run.lines[0].endswith("0:40 left")  # of 60 s, 20 are gone
    run.add(3, 1.0, 1.0, 25.0)
    run.add(4, 1.0, 1.0, 25.0)
    assert run.lines[1].endswith("0:00 left")


def test_window_without_tokens_or_time_divides_by_nothing():
    run = Run(log_every=1)
    figures = run.add(1, loss=0.0, tokens=0.0, seconds=0.0)
    assert (figures["loss"], figures["tokens_per_second"]) == (0.0, 0.0)


def test_resumed_run_counts_its_own_seconds():
    run = Run(log_every=1, start=100.0)
    figures = run.add(5, loss=1.0, tokens=30.0, seconds=3.0)
    assert figures["tokens_per_second"] == 10.0


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (3599.6, "1:00:00"),
        (3725, "1:02:05"),
        (100 * 3600, "100:00:00"),
    ],
)
def test_seconds_are_rounded_before_they_are_split(seconds, text):
    assert format_seconds(seconds) == text


def test_metrics_of_parts_have_lines_of_their_own():
    metrics = {"score": 3.0, "bleu": 3.0, "bleu/en-fr": 4.0, "bleu/fr-en": 2.0}
    assert format_metrics(metrics) == "score 3.000  bleu 3.000"
    assert format_parts(metrics) == ["bleu  en-fr 4.000  fr-en 2.000"]
