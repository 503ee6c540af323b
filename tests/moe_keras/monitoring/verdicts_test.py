"""Verdicts on loads that are made up, each with its threshold."""

import dataclasses
import types

import pytest

from moe_keras import (
    BatchwiseGate,
    BiasBalancedGate,
    ExpertChoiceGate,
    HierarchicalGate,
    NoisyTopKGate,
    SparseMoE,
    SwitchGate,
    ThresholdGate,
    TopKGate,
)
from moe_keras.monitoring import Judge, Thresholds, measure


def window_of(spread, **changes):
    """A window of 16 experts, k = 2, that has this spread."""
    window = measure("moe", 10, 10, tokens=10_000, load=[1250.0] * 16)
    return dataclasses.replace(window, spread=spread, **changes)


def levels(*spreads, **thresholds):
    judge = Judge(Thresholds(**thresholds))
    return [judge.judge(window_of(spread)).level for spread in spreads]


@pytest.mark.parametrize(
    "spread, level, threshold",
    [
        (1.0, "healthy", 0.75),
        (0.76, "healthy", 0.75),
        (0.51, "healthy", 0.75),  # a dip, so far
        (0.49, "collapsing", 0.5),
        (0.09, "collapsed", 0.1),
    ],
)
def test_level_of_a_single_window(spread, level, threshold):
    verdict = Judge(Thresholds()).judge(window_of(spread))
    assert verdict.level == level
    assert verdict.value == spread and verdict.threshold == threshold
    assert bool(verdict.advice) == (level != "healthy")


def test_thresholds_are_arguments():
    assert levels(0.74, drifting_windows=1) == ["drifting"]
    assert levels(0.74, drifting_windows=1, drifting_spread=0.7) == ["healthy"]
    assert levels(0.74, collapsing_spread=0.75) == ["collapsing"]


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
    # 0.03 a window: 0.73 + 4 * 0.03 = 0.85, above 0.75; 0.01 leads to 0.74.
    low = [0.6] * 5
    mending = levels(*low, 0.58, 0.61, 0.64, 0.67, 0.7, 0.73)
    assert mending == ["healthy"] * 11
    staying = levels(*low, 0.65, 0.66, 0.67, 0.68, 0.69, 0.7)
    assert staying[-1] == "drifting"


def test_collapse_is_called_at_once():
    assert levels(1.0, 0.8, 0.49)[-1] == "collapsing"


def test_collapse_is_called_ahead_where_the_fall_is_steep():
    # 0.16 a window: in 4 windows 0.57 - 4 * 0.16 = -0.07, below 0.1.
    assert levels(0.89, 0.73, 0.57)[-1] == "collapsing"
    # 0.12 a window: 0.62 - 4 * 0.12 = 0.14, above.
    assert levels(0.86, 0.74, 0.62)[-1] == "healthy"
    # The line through 0.8, 0.7, 0.6 leads to 0.2; with the window before, the
    # slope would be steeper.
    assert levels(0.95, 0.8, 0.7, 0.6)[-1] == "healthy"
    assert levels(0.89, 0.73, 0.57, fall_windows=4)[-1] == "healthy"


def test_fall_that_slows_down_is_not_steep():
    # As seen in a healthy run with windows of 10 steps. The line through the
    # last three leads to 0.62 - 4 * 0.145 = 0.04, the last step to 0.22.
    assert levels(1.0, 0.91, 0.72, 0.62) == ["healthy"] * 4
    # The same line where the last step is as steep as the one before.
    assert levels(1.0, 0.91, 0.765, 0.62)[-1] == "collapsing"


def test_dip_that_comes_to_rest_is_no_collapse():
    # At 0.49 the line through three leads to 0.49 - 4 * 0.03 = 0.37.
    dip = [0.95, 0.85, 0.75, 0.67, 0.6, 0.55, 0.52, 0.49, 0.47, 0.46, 0.45]
    assert levels(*dip, 0.45, 0.46, drifting_windows=20) == ["healthy"] * 13
    # It is not healthy for ever, though: from 0.67 on for ten windows.
    assert levels(*dip, 0.45, 0.46)[-2:] == ["healthy", "drifting"]


def test_fall_that_goes_on_is_a_collapse():
    start = [0.95, 0.85, 0.75, 0.67, 0.6, 0.55, 0.52]
    # 0.47 - 4 * 0.025 = 0.37, but 0.42 - 4 * 0.04 = 0.26, below 0.35.
    assert levels(*start, 0.5, 0.47, 0.42)[-2:] == ["healthy", "collapsing"]
    # However slowly: 0.385 - 4 * 0.01 = 0.345.
    slow = levels(*start, *(0.505 - 0.01 * n for n in range(13)))
    assert slow[-2:] == ["drifting", "collapsing"]
    # Once called it is one until it is above 0.5 + 0.03.
    called = [*start, 0.5, 0.47, 0.42, 0.42, 0.42, 0.42, 0.42, 0.42]
    assert levels(*called)[-6:] == ["collapsing"] * 6


def test_gradient_that_does_not_fade_holds_a_dip():
    # As seen in a healthy run: at 0.486 line and last step lead below 0.35.
    fall = [0.71, 0.65, 0.616, 0.563, 0.535, 0.486]
    pulled = [0.61, 0.55, 0.52, 0.42, 0.44, 0.47]  # of the last three: + 0.025
    fading = [0.61, 0.55, 0.52, 0.42, 0.38, 0.31]

    def last(gradients, spreads=fall):
        judge = Judge(Thresholds())
        for spread, gradient in zip(spreads, gradients, strict=True):
            verdict = judge.judge(window_of(spread, gate_gradient=gradient))
        return verdict.level

    assert last(pulled) == "healthy"
    assert last(fading) == "collapsing"
    assert last([None] * 6) == "collapsing"
    # Deeper than dips are it is one, whatever pulls.
    assert last(pulled, [*fall[:-1], 0.34]) == "collapsing"


def test_how_deep_dips_are_is_an_argument():
    dip = [0.6, 0.55, 0.52, 0.49, 0.47, 0.46, 0.45]
    assert levels(*dip)[-1] == "healthy"
    assert levels(*dip, dip_spread=0.46)[-1] == "collapsing"
    assert levels(*dip, dip_spread=0.5)[-4] == "collapsing"  # at 0.49: none is


def test_steep_fall_is_named():
    judge = Judge(Thresholds())
    for spread in (0.89, 0.73, 0.57):
        verdict = judge.judge(window_of(spread))
    assert verdict.figure == "spread of load where its fall leads"
    assert abs(verdict.value + 0.07) < 1e-9 and verdict.threshold == 0.1


def test_rise_from_below_is_no_longer_a_collapse():
    # The trend over six windows leads back above 0.5.
    rising = levels(0.12, 0.18, 0.25, 0.32, 0.4, 0.47)
    assert rising == ["collapsing"] * 5 + ["drifting"]


def test_verdict_does_not_flicker_at_a_threshold():
    flickering = levels(0.74, 0.76, 0.74, 0.77, 0.79, drifting_windows=1)
    assert flickering == ["drifting"] * 4 + ["healthy"]


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
    window = measure("moe", 1, 1, tokens=72, load=[9] * 16)
    assert Judge(Thresholds()).judge(window) is None
    assert Judge(Thresholds(choices_needed=9.0)).judge(window) is not None


def test_advice_follows_from_what_is_seen_of_the_gate():
    judge = Judge(Thresholds(drifting_windows=1))
    noisy = window_of(0.6, noise_over_gap=1.0, gate_gradient=0.1)
    assert "importance_loss_weight" in judge.judge(noisy).advice
    assert "noise" not in judge.judge(noisy).advice
    quiet = dataclasses.replace(noisy, noise_over_gap=0.01)
    assert "noise" in judge.judge(quiet).advice
    deaf = dataclasses.replace(noisy, gate_gradient=0.0)
    assert "no gradient" in judge.judge(deaf).advice


def advice_for(gate, **figures):
    judge = Judge(Thresholds(drifting_windows=1), gate)
    figures = {"gate_gradient": 0.1, **figures}
    return judge.judge(window_of(0.6, **figures)).advice


@pytest.mark.parametrize(
    "gate, knobs",
    [
        (NoisyTopKGate(16), "importance_loss_weight and load_loss_weight"),
        (
            HierarchicalGate(4, 4),
            "importance_loss_weight and load_loss_weight",
        ),
        (TopKGate(16), "balance_loss_weight"),
        (SwitchGate(16), "balance_loss_weight"),
        (ThresholdGate(16), "balance_loss_weight"),
        (BiasBalancedGate(16), "update_rate"),
        (BatchwiseGate(16), "threshold_loss_weight"),
    ],
)
def test_advice_names_what_the_gate_has(gate, knobs):
    advice = f"raise {knobs}, or lower the learning rate"
    assert advice_for(gate) == advice
    layer = SparseMoE(16, hidden_dim=2, gate=gate).get_config()
    for knob in knobs.split(" and "):
        assert knob in layer or knob in gate.get_config()


@pytest.mark.parametrize("gate", [NoisyTopKGate(16), HierarchicalGate(4, 4)])
def test_advice_on_noise_is_for_gates_that_have_it(gate):
    assert "noise" not in advice_for(gate, noise_over_gap=0.1)
    advice = advice_for(gate, noise_over_gap=0.09)
    assert advice.endswith("; give the gate more noise: raise noise_epsilon")
    assert "noise_epsilon" in gate.get_config()


def test_advice_for_gates_without_a_knob():
    even = ExpertChoiceGate(16, causal=False)
    assert advice_for(even) == "lower the learning rate"
    own = types.SimpleNamespace()  # says nothing of itself
    assert "importance_loss_weight" in advice_for(own, noise_over_gap=0.0)
    assert advice_for(own, noise_over_gap=0.0).endswith("more noise")
    own.balances_itself = True
    assert advice_for(own) == "lower the learning rate"


def test_bad_thresholds_are_refused():
    with pytest.raises(ValueError, match="must grow in this order"):
        Thresholds(drifting_spread=0.4)
    with pytest.raises(ValueError, match="`drifting_windows` must be at least"):
        Thresholds(drifting_windows=0)
    with pytest.raises(ValueError, match="`fall_windows` must be at least 2"):
        Thresholds(trend_windows=2)
