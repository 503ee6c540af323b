"""Verdicts on loads that are made up, each with its threshold."""

import dataclasses

import numpy as np
import pytest

from moe_keras.monitoring import Judge, Thresholds, make_window


def window_of(spread, **changes):
    """A window of 16 experts, k = 2, that has this spread."""
    window = make_window("moe", 10, 10, tokens=10_000, load=[1250.0] * 16)
    return dataclasses.replace(window, spread=spread, **changes)


def levels(*spreads, is_balanced=True, **thresholds):
    judge = Judge(Thresholds(**thresholds), is_balanced=is_balanced)
    return [judge.judge(window_of(spread)).level for spread in spreads]


@pytest.mark.parametrize(
    "spread, level, threshold",
    [
        (1.0, "healthy", 0.75),
        (0.76, "healthy", 0.75),
        (0.41, "healthy", 0.75),  # a dip, so far
        (0.39, "collapsing", 0.4),
        (0.09, "collapsed", 0.1),
    ],
)
def test_level_after_an_even_window(spread, level, threshold):
    judge = Judge(Thresholds())
    judge.judge(window_of(1.0))
    verdict = judge.judge(window_of(spread))
    assert verdict.level == level
    assert verdict.value == spread and verdict.threshold == threshold
    assert bool(verdict.advice) == (level != "healthy")


def test_thresholds_are_arguments():
    assert levels(0.74, drifting_windows=1) == ["drifting"]
    assert levels(0.74, drifting_windows=1, drifting_spread=0.7) == ["healthy"]
    assert levels(0.9, 0.69, collapsing_spread=0.7)[-1] == "collapsing"
    assert levels(0.9, 0.3, collapsing_spread=0.2)[-1] == "healthy"


def test_low_spread_is_a_collapse_where_nothing_keeps_the_load_even():
    assert levels(0.71, 0.69, is_balanced=False) == ["healthy", "collapsing"]
    assert levels(0.71, 0.69) == ["healthy", "healthy"]
    assert levels(0.69, is_balanced=False, unbalanced_spread=0.6) == ["healthy"]
    verdict = Judge(Thresholds(), is_balanced=False).judge(window_of(0.69))
    assert verdict.reason == (
        "spread of load, which nothing keeps even, 0.690, threshold 0.700"
    )
    assert verdict.advice == (
        "raise importance_loss_weight and load_loss_weight from 0, or lower "
        "the learning rate"
    )


def test_dip_that_mends_is_no_drift():
    # As seen in a healthy run without a warm-up (benchmarks/verdicts.py).
    seen = [0.99, 0.86, 0.76, 0.67, 0.62, 0.61, 0.6, 0.61, 0.65, 0.76, 0.81]
    assert levels(*seen) == ["healthy"] * 11


def test_dip_that_stays_is_one():
    ten = [0.7, 0.6] * 5
    assert levels(*ten) == ["healthy"] * 9 + ["drifting"]
    interrupted = [*ten[:4], 0.8, *ten[:9]]
    assert levels(*interrupted) == ["healthy"] * 14


def test_dip_that_is_about_to_end_is_none():
    # 0.01 a window: 0.69 + 10 * 0.01 = 0.79, above 0.75.
    low = [0.6] * 5
    mending = levels(*low, 0.64, 0.65, 0.66, 0.67, 0.68, 0.69)
    assert mending == ["healthy"] * 11
    # 0.005 a window leads to 0.735 in as many windows as make a drift.
    staying = levels(*low, 0.66, 0.665, 0.67, 0.675, 0.68, 0.685)
    assert staying[-1] == "drifting"


def test_uneven_start_that_mends_is_no_collapse():
    # As of a gate that happens to prefer some experts, before its loss works.
    start = [0.3, 0.25, 0.27, 0.29, 0.31]  # a trend takes six windows
    assert levels(*start, 0.36, 0.5, 0.66, 0.8) == ["healthy"] * 9
    assert levels(*start, 0.2)[-2:] == ["healthy", "collapsing"]
    # Once even, it is a fall.
    assert levels(*start, 0.36, 0.5, 0.39)[-2:] == ["healthy", "collapsing"]
    # Nothing will mend it here.
    assert levels(0.3, is_balanced=False) == ["collapsing"]
    # Nor is a full collapse a start that one may wait for.
    assert levels(0.09) == ["collapsed"]


def test_rise_from_below_is_no_longer_a_collapse():
    rising = levels(0.5, 0.12, 0.25, 0.39, 0.42, 0.44, 0.74, 0.79)
    assert rising == [
        "healthy",
        *["collapsing"] * 4,
        *["drifting"] * 2,
        "healthy",
    ]


def test_verdict_does_not_flicker_at_a_threshold():
    flickering = levels(0.74, 0.76, 0.74, 0.77, 0.79, drifting_windows=1)
    assert flickering == ["drifting"] * 4 + ["healthy"]


@pytest.mark.parametrize(
    "spread", (0.12, 0.2, 0.3, 0.38, 0.395, 0.42, 0.6, 0.74, 0.78)
)
@pytest.mark.parametrize("is_balanced", (True, False))
def test_verdict_on_a_spread_that_stays_changes_once_at_most(
    spread, is_balanced
):
    """Noise within 0.015 to each side is less than the margin of 0.03."""
    noise = np.random.default_rng(0).uniform(-0.0149, 0.0149, size=(5, 200))
    for spreads in spread + noise:
        given = levels(*spreads, is_balanced=is_balanced)
        changes = sum(a != b for a, b in zip(given, given[1:], strict=False))
        assert changes <= 1


def test_collapsing_gate_that_began_uneven_has_to_rise_by_the_margin():
    # Called in the sixth window, where there is a trend, which does not rise.
    assert levels(*[0.2] * 6)[-2:] == ["healthy", "collapsing"]
    # The mean of six windows has risen from 0.2 to (0.2 + 5 * x) / 6: by less
    # than 0.03 for five windows of 0.235, by more for five of 0.237.
    assert levels(*[0.2] * 6, *[0.235] * 5)[-1] == "collapsing"
    assert levels(*[0.2] * 6, *[0.237] * 5)[-1] == "drifting"
    # Once it rises no more, it has to rise as much again.
    assert levels(*[0.2] * 6, *[0.237] * 30)[-1] == "collapsing"


def test_idle_experts_do_not_flicker_either():
    def window(idle):
        return window_of(0.9, idle_experts=idle, idle_by_chance=0.0)

    judge = Judge(Thresholds(drifting_windows=1, idle_limit=0.11, margin=0.05))
    # 2 of 16 are 0.125; 1 is 0.0625, no less than 0.11 - 0.05; 0 is.
    given = [judge.judge(window(idle)).level for idle in (1, 2, 1, 0, 1)]
    assert given == ["healthy", "drifting", "drifting", "healthy", "healthy"]


def test_idle_experts_beyond_chance_are_a_drift():
    window = window_of(0.9, idle_experts=2, idle_by_chance=0.0)
    verdict = Judge(Thresholds(drifting_windows=1)).judge(window)
    assert (verdict.level, verdict.figure) == ("drifting", "idle share")
    assert verdict.value == 2 / 16
    by_chance = dataclasses.replace(window, idle_by_chance=1.5)
    assert (
        Judge(Thresholds(drifting_windows=1)).judge(by_chance).level
        == "healthy"
    )


def test_too_few_tokens_give_no_verdict():
    # 16 experts, 9 choices each; ten are wanted.
    window = make_window("moe", 1, 1, tokens=72, load=[9] * 16)
    assert Judge(Thresholds()).judge(window) is None
    assert Judge(Thresholds(choices_needed=9.0)).judge(window) is not None


def test_bad_thresholds_are_refused():
    with pytest.raises(ValueError, match="must grow in this order"):
        Thresholds(drifting_spread=0.4)
    with pytest.raises(ValueError, match="must grow in this order"):
        Thresholds(unbalanced_spread=0.3)
    with pytest.raises(ValueError, match="`drifting_windows` must be at least"):
        Thresholds(drifting_windows=0)
    with pytest.raises(ValueError, match="`trend_windows` must be at least 2"):
        Thresholds(trend_windows=1)
