"""How the factor on the loss finds its size."""

import pytest

from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.loss_scale import GROW_EVERY, LossScale
from trainers.engine.train_step import StepResult

INF, NAN = float("inf"), float("nan")
GOOD = StepResult(1.0, 8.0, 2.0, True)
OVERFLOW = StepResult(1.0, 8.0, INF, False)


def test_halves_where_the_gradient_overflows_and_not_below_one():
    loss_scale = LossScale(4.0)
    found = [loss_scale.was_too_large(OVERFLOW) for _ in range(4)]
    # 4, 2, 1; at 1 it is not the factor's fault.
    assert found == [True, True, False, False]
    assert float(loss_scale.factor) == 1.0


def test_loss_that_is_not_finite_is_not_the_fault_of_the_factor():
    loss_scale = LossScale(4.0)
    assert not loss_scale.was_too_large(StepResult(NAN, 8.0, NAN, False))
    assert float(loss_scale.factor) == 4.0


def test_doubles_after_so_many_finite_steps_in_a_row():
    loss_scale = LossScale(4.0)
    loss_scale.finite_steps.assign(GROW_EVERY - 2)
    assert not loss_scale.was_too_large(GOOD)
    assert float(loss_scale.factor) == 4.0
    loss_scale.was_too_large(GOOD)
    assert float(loss_scale.factor) == 8.0
    assert int(loss_scale.finite_steps) == 0
    loss_scale.was_too_large(GOOD)
    loss_scale.was_too_large(OVERFLOW)
    assert int(loss_scale.finite_steps) == 0


@pytest.mark.parametrize("value", [0.5, -1.0, INF, NAN])
def test_factor_out_of_range_is_refused_before_training(value):
    with pytest.raises(ValueError, match="`loss_scale` must be at least 1"):
        LoopConfig(loss_scale=value)
