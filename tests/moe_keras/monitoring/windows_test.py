"""Figures of a window, and the file that windows are kept in."""

import dataclasses
import json
import logging

import numpy as np
import pytest

from moe_keras.monitoring import Verdict, WindowFile, make_window
from moe_keras.monitoring.windows import spread


def test_figures_worked_by_hand():
    window = make_window(
        "moe",
        step=20,
        steps=10,
        tokens=4,
        load=[4, 2, 2, 0],
        importance=[2.0, 1.0, 1.0, 0.0],
        overflow=1,
        gate_metrics={"noise": 3.0, "gap": 6.0},
    )
    # Mean 2, variance (4 + 0 + 0 + 4) / 4 = 2.
    assert window.cv_load == pytest.approx(2**0.5 / 2)
    assert window.cv_importance == pytest.approx(2**0.5 / 2)
    assert window.max_over_mean_load == 2.0
    # Shares 1/2, 1/4, 1/4: 1.5 bits of the 2 that four experts could have.
    assert window.entropy == pytest.approx(0.75)
    assert window.idle_experts == 1
    assert window.mean_k == 2.0
    # Each expert is left out by a token with chance 1/2, by four with 1/16.
    assert window.idle_by_chance == pytest.approx(4 / 16)
    assert window.noise_over_gap == 0.5
    assert window.gate_metrics == {"noise": 3 / 4, "gap": 6 / 4}


def test_chance_is_taken_off_the_spread():
    # Even routing at random, 40 tokens, k = 1 of 16: CV^2 is 15 / 40 by
    # chance, which would be a spread of (16 / 1.375 - 1) / 15 = 0.71.
    random = np.random.default_rng(0)
    spreads = [
        spread(np.bincount(random.integers(16, size=40), minlength=16), 40)
        for _ in range(200)
    ]
    assert np.mean(spreads) > 0.9


def test_spread_between_even_and_collapsed():
    # 8 experts, k = 2, four used evenly: (4 - 2) / (8 - 2); 10^6 tokens make
    # chance small.
    load = np.array([5e5] * 4 + [0] * 4)
    assert spread(load, 1e6) == pytest.approx(1 / 3, abs=1e-4)
    # A full collapse is one however few tokens there are.
    assert spread([1e6, 1e6] + [0] * 6, 1e6) == pytest.approx(0, abs=1e-9)
    assert spread([3, 3] + [0] * 6, 3) == pytest.approx(0, abs=1e-9)
    assert spread([7, 7, 7], 7) == 1.0  # k = E: nothing to collapse


def test_window_without_tokens_has_figures_all_the_same():
    window = make_window(
        "moe", 5, 5, 0, load=[0, 0, 0], gate_metrics={"mass": 0.0}
    )
    assert window.gate_metrics == {"mass": 0.0}
    values = [v for v in dataclasses.astuple(window) if type(v) is float]
    assert np.isfinite(values).all()


def test_windows_come_back_from_their_file(tmp_path):
    windows = [
        make_window("low", 5, 5, tokens=4, load=[4, 2, 2, 0]),
        make_window(
            "high", 5, 5, 4, load=[2, 2, 2, 2], gate_metrics={"mass": 2.0}
        ),
    ]
    verdict = Verdict("drifting", "spread of load", 0.7, 0.75, "Try this.")
    windows[0] = dataclasses.replace(windows[0], verdict=verdict)
    WindowFile(tmp_path / "new").append(windows[:1])
    WindowFile(tmp_path / "new").append(windows[1:])
    assert WindowFile(tmp_path / "new").read() == windows
    lines = (tmp_path / "new/routing.jsonl").read_text().splitlines()
    assert [json.loads(line)["layer"] for line in lines] == ["low", "high"]


def test_windows_of_earlier_versions_are_read(tmp_path):
    """They have no metrics of the gate, or have them under another name."""
    for metrics in ({}, {"mass": 2.0}):
        file = WindowFile(tmp_path / str(len(metrics)))
        window = make_window("moe", 5, 5, 4, [4, 4], gate_metrics=metrics)
        file.append([window])
        values = json.loads(file.path.read_text())
        del values["gate_metrics"]
        if metrics:
            values["figures"] = {"mass": 0.5}  # 2 over 4 tokens
        file.path.write_text(json.dumps(values) + "\n")
        assert file.read() == [window]


def test_line_that_was_cut_off_is_left_out(tmp_path):
    file = WindowFile(tmp_path)
    window = make_window("moe", 5, 5, tokens=4, load=[4, 4])
    file.append([window])
    with file.path.open("a") as opened:
        opened.write('{"layer": "mo')
    assert file.read() == [window]


@pytest.mark.parametrize(
    "broken", [b'{"layer": "mo', b"\xff\x00\x00", b'{"step": 5}', b"7", b""]
)
def test_broken_line_is_named_and_passed_over(tmp_path, caplog, broken):
    file = WindowFile(tmp_path)
    windows = [make_window("moe", n, 5, tokens=4, load=[4, 4]) for n in (5, 10)]
    file.append(windows)
    one, two = file.path.read_bytes().splitlines(keepends=True)
    file.path.write_bytes(one + broken + b"\n" + two)
    with caplog.at_level(logging.WARNING):
        assert file.read() == windows
    (line,) = caplog.messages
    assert line.startswith(f"{file.path}, line 2, is broken and passed over")
    assert file.keep_until(10) == windows  # and writes what is left
    caplog.clear()
    assert file.read() == windows and not caplog.messages


def test_resumed_run_drops_what_it_goes_over_again(tmp_path):
    file = WindowFile(tmp_path)
    assert file.keep_until(7) == []
    windows = [make_window("moe", n, 5, tokens=4, load=[4, 4]) for n in (5, 10)]
    file.append(windows)
    assert file.keep_until(7) == windows[:1]
    assert file.read() == windows[:1]
