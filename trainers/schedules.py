"""Learning rates over the steps of training."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="trainers")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, a constant stretch, then ∝ 1/sqrt(step).

    The paper's schedule (appendix E: 2000 steps of warm-up, 8000 constant).

    Args:
        peak: float. The rate of the constant stretch.
        warmup_steps: int. Steps of linear growth from 0; at least 1.
        constant_steps: int. Steps at the peak after them.

    Raises:
        ValueError: if a number of steps or the rate is out of range.

    Example:

    >>> schedule = InverseSquareRoot(1.0, warmup_steps=10, constant_steps=15)
    >>> [round(float(schedule(step)), 3) for step in (4, 9, 24, 99)]
    [0.5, 1.0, 1.0, 0.5]
    """

    def __init__(self, peak, warmup_steps, constant_steps=0):
        if peak <= 0 or warmup_steps < 1 or constant_steps < 0:
            raise ValueError(
                "`peak` must be positive, `warmup_steps` at least 1 and "
                f"`constant_steps` at least 0. Received: peak={peak}, "
                f"warmup_steps={warmup_steps}, constant_steps={constant_steps}"
            )
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.constant_steps = constant_steps

    def __call__(self, step):
        step = ops.cast(step, "float32") + 1.0
        hold = float(self.warmup_steps + self.constant_steps)
        rising = step / self.warmup_steps
        falling = ops.sqrt(hold / ops.maximum(step, hold))
        return self.peak * ops.minimum(rising, falling)

    def get_config(self):
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "constant_steps": self.constant_steps,
        }
