"""What TensorBoard finds in the event files."""

import numpy as np
import pytest
import tensorflow as tf

from moe_keras.monitoring import make_window
from trainers.engine.summaries import Summaries

FIGURES = {"loss": 2.5, "perplexity": 12.0, "tokens_per_second": 100.0}


def _events(folder):
    """`{tag: [(step, value), ...]}` of the event files of a folder."""
    found = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                points = found.setdefault(value.tag, [])
                points.append((event.step, tf.make_ndarray(value.tensor)))
    return found


def _windows(step):
    """Two layers; all of 6 tokens went to the same 2 of 3 experts."""
    return [
        make_window(name, step, 5, tokens=6, load=[6, 6, 0])
        for name in ("low", "high")
    ]


def _write(folder, *steps, windows=_windows):
    summaries = Summaries(folder)
    for step in steps:
        summaries.write_training(step, FIGURES, 1e-3, 0.5, windows(step))


def test_curves_have_their_values_and_steps(tmp_path):
    _write(tmp_path, 7, 9, windows=lambda step: [])
    events = _events(tmp_path / "logs/train")
    expected = {**FIGURES, "learning_rate": 1e-3, "gradient_norm": 0.5}
    assert set(events) == set(expected)
    for tag, value in expected.items():
        assert [step for step, _ in events[tag]] == [7, 9]
        np.testing.assert_allclose([v for _, v in events[tag]], value)


def test_each_moe_layer_shows_its_importance_and_load(tmp_path):
    _write(tmp_path, 1)
    events = _events(tmp_path / "logs/train")
    for name in ("low", "high"):
        for field in (
            "cv_importance",
            "cv_load",
            "max_over_mean_load",
            "idle_experts",
            "importance",
            "load",
        ):
            assert f"{name}/{field}" in events
        # A histogram's rows are (left, right, count): one entry an expert.
        for field in ("importance", "load"):
            ((_, histogram),) = events[f"{name}/{field}"]
            assert histogram[:, 2].sum() == 3


def test_collapsed_gate_is_seen(tmp_path):
    # Loads 6, 6, 0: the mean is 4 and the busiest has 6 / 4 of it.
    _write(tmp_path, 1)
    events = _events(tmp_path / "logs/train")
    assert events["low/max_over_mean_load"][0][1] == pytest.approx(1.5)
    assert events["low/idle_experts"][0][1] == 1
    assert events["low/spread"][0][1] == 0
    # deviations 2, 2, -4: sqrt((4 + 4 + 16) / 3) / 4
    cv = np.sqrt(24 / 3) / 4
    assert events["low/cv_load"][0][1] == pytest.approx(cv)


def test_evaluation_has_a_log_of_its_own(tmp_path):
    summaries = Summaries(tmp_path)
    summaries.write_evaluation(4, {"bleu": 30.0, "perplexity": 5.0})
    events = _events(tmp_path / "logs/dev")
    assert {tag: float(value) for tag, [(_, value)] in events.items()} == {
        "bleu": 30.0,
        "perplexity": 5.0,
    }
    assert events["bleu"][0][0] == 4
