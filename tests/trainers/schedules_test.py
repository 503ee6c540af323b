"""The learning rate over the steps."""

import numpy as np
import pytest

from trainers.schedules import InverseSquareRoot


def test_warm_up_constant_and_decay_worked_by_hand():
    schedule = InverseSquareRoot(0.1, warmup_steps=4, constant_steps=5)
    rates = [float(schedule(step)) for step in (0, 1, 3, 8, 35)]
    # Step s is the (s + 1)-th: 1/4, 2/4, 4/4 of the peak, the last constant
    # step (the 9th), and the 36th: sqrt(9 / 36) = 1/2.
    np.testing.assert_allclose(rates, [0.025, 0.05, 0.1, 0.1, 0.05], rtol=1e-6)


def test_config_round_trip():
    schedule = InverseSquareRoot(0.1, 4, 5)
    again = InverseSquareRoot.from_config(schedule.get_config())
    assert float(again(20)) == float(schedule(20))


@pytest.mark.parametrize("arguments", [(0.0, 1), (0.1, 0), (0.1, 1, -1)])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="`peak` must be positive"):
        InverseSquareRoot(*arguments)
