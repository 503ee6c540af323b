"""The learning rate over the steps, worked by hand."""

import numpy as np
import pytest

from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.schedules import SCHEDULES, Schedule


def _rates(schedule, steps):
    """The rates of steps, counted from 0, of training that has 40 of them."""
    rates = []
    for step in steps:
        schedule.used.assign(step / 40)
        rates.append(float(schedule(step)))
    return rates


def test_warm_up_constant_and_inverse_square_root():
    schedule = Schedule("inverse_sqrt", 0.1, 4, constant_steps=5)
    rates = _rates(schedule, (0, 1, 3, 8, 35))
    # Step s is the (s + 1)-th: 1/4, 2/4, 4/4 of the peak, the last constant
    # step (the 9th), and the 36th: sqrt(9 / 36) = 1/2.
    np.testing.assert_allclose(rates, [0.025, 0.05, 0.1, 0.1, 0.05], rtol=1e-6)


# From a quarter of training, step 10, over the 30 steps that are left; at
# step 25 half of them are behind, at step 40 all.
@pytest.mark.parametrize(
    "kind, final_rate, expected",
    [
        ("constant", 0.0, [1, 1, 1, 1]),
        ("linear", 0.0, [1, 2 / 3, 1 / 2, 0]),
        ("linear", 0.2, [1, 0.2 + 0.8 * 2 / 3, 0.6, 0.2]),
        # (1 + cos 60°) / 2 = 3/4 after a third.
        ("cosine", 0.0, [1, 3 / 4, 1 / 2, 0]),
        ("cosine", 0.2, [1, 0.2 + 0.8 * 3 / 4, 0.6, 0.2]),
        # A third of the way, half of it, all of it to 1/64.
        ("exponential", 1 / 64, [1, 1 / 4, 1 / 8, 1 / 64]),
    ],
)
def test_falls_with_the_share_of_training_used(kind, final_rate, expected):
    schedule = Schedule(kind, 0.1, 4, decay_from=0.25, final_rate=final_rate)
    rates = _rates(schedule, (10, 20, 25, 40))
    np.testing.assert_allclose(
        rates, 0.1 * np.array(expected), rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("kind", SCHEDULES)
def test_all_warm_up_and_come_back_from_their_config(kind):
    schedule = Schedule(kind, 0.1, 4, 5, decay_from=0.25, final_rate=0.1)
    rates = _rates(schedule, range(40))
    np.testing.assert_allclose(rates[:4], [0.025, 0.05, 0.075, 0.1], rtol=1e-6)
    assert (np.diff(rates[4:]) <= 1e-9).all()
    again = Schedule.from_config(schedule.get_config())
    assert _rates(again, range(40)) == rates


@pytest.mark.parametrize("arguments", [(0.0, 1), (0.1, 0), (0.1, 1, -1)])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="`peak` must be positive"):
        Schedule("constant", *arguments)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"schedule": "step"}, "one of inverse_sqrt, constant, linear"),
        ({"decay_from": 1.0}, "`decay_from` must be at least 0 and below 1"),
        ({"final_rate": 1.5}, "`final_rate` between 0 and 1"),
        ({"schedule": "exponential"}, "above 0 with schedule='exponential'"),
    ],
)
def test_bad_fields_are_refused_before_training(fields, message):
    with pytest.raises(ValueError, match=message):
        LoopConfig(**fields)
