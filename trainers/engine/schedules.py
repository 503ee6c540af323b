"""Learning rates over the steps of training, by name."""

import math

import keras
import tensorflow as tf
from keras import ops

SCHEDULES = ("inverse_sqrt", "constant", "linear", "cosine", "exponential")


@keras.saving.register_keras_serializable(package="trainers")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a peak, then a named decay.

    | kind           | after the warm-up, as a fraction of the peak            |
    | -------------- | ------------------------------------------------------- |
    | `inverse_sqrt` | 1 for `constant_steps`, then ∝ 1/sqrt(step)             |
    | `constant`     | 1                                                       |
    | `linear`       | falls in a straight line to `final_rate`                |
    | `cosine`       | falls to `final_rate` in half a wave                    |
    | `exponential`  | falls to `final_rate` by equal factors in equal times   |

    The first is the paper's (appendix E: 2000 steps of warm-up, 8000
    constant). The last three need to know when training ends, which may be
    set in minutes and not in steps. So they fall with the variable `used`, the
    fraction of training that is done, from 0 to 1; the training loop assigns
    it before each step. They stay at the peak until `decay_from` of training
    is done, and reach `final_rate` at the end.

    Args:
        kind: str, one of `SCHEDULES`.
        peak: float. The highest rate.
        warmup_steps: int. Steps of linear growth from 0; at least 1.
        constant_steps: int. Steps at the peak before `inverse_sqrt` falls.
        decay_from: float in [0, 1). Fraction of training before the fall of
            `linear`, `cosine` and `exponential`.
        final_rate: float in [0, 1]. What they fall to, as a fraction of the
            peak; above 0 for `exponential`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> schedule = Schedule("linear", 1.0, warmup_steps=2, decay_from=0.5)
    >>> rates = []
    >>> for step in range(8):  # counted from 0
    ...     _ = schedule.used.assign(step / 8)
    ...     rates.append(round(float(schedule(step)), 2))
    >>> rates
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    def __init__(
        self,
        kind,
        peak,
        warmup_steps,
        constant_steps=0,
        decay_from=0.0,
        final_rate=0.0,
    ):
        check_schedule(kind, decay_from, final_rate)
        if peak <= 0 or warmup_steps < 1 or constant_steps < 0:
            raise ValueError(
                "`peak` must be positive, `warmup_steps` at least 1 and "
                f"`constant_steps` at least 0. Received: peak={peak}, "
                f"warmup_steps={warmup_steps}, constant_steps={constant_steps}"
            )
        self.kind = kind
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.constant_steps = constant_steps
        self.decay_from = decay_from
        self.final_rate = final_rate
        self.used = tf.Variable(0.0, trainable=False, name="used")

    def __call__(self, step):
        step = ops.cast(step, "float32") + 1.0
        rising = step / self.warmup_steps
        return self.peak * ops.minimum(rising, self._falling(step))

    def _falling(self, step):
        """Fraction of the peak at a step, counted from 1, after the warm-up."""
        if self.kind == "constant":
            return 1.0
        if self.kind == "inverse_sqrt":
            hold = float(self.warmup_steps + self.constant_steps)
            return ops.sqrt(hold / ops.maximum(step, hold))
        behind = (self.used - self.decay_from) / (1.0 - self.decay_from)
        behind = ops.clip(behind, 0.0, 1.0)
        if self.kind == "exponential":
            return ops.exp(behind * math.log(self.final_rate))
        if self.kind == "linear":
            left = 1.0 - behind
        else:
            left = 0.5 * (1.0 + ops.cos(math.pi * behind))
        return self.final_rate + (1.0 - self.final_rate) * left

    def get_config(self):
        return {
            "kind": self.kind,
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "constant_steps": self.constant_steps,
            "decay_from": self.decay_from,
            "final_rate": self.final_rate,
        }


def check_schedule(kind, decay_from, final_rate):
    """Raises a ValueError unless there is such a schedule."""
    if kind not in SCHEDULES:
        raise ValueError(
            f"`schedule` must be one of {', '.join(SCHEDULES)}. "
            f"Received: {kind!r}"
        )
    if not 0 <= decay_from < 1 or not 0 <= final_rate <= 1:
        raise ValueError(
            "`decay_from` must be at least 0 and below 1, and `final_rate` "
            f"between 0 and 1. Received: decay_from={decay_from}, "
            f"final_rate={final_rate}"
        )
    if kind == "exponential" and not final_rate:
        raise ValueError(
            "`final_rate` must be above 0 with schedule='exponential', which "
            "never reaches zero; 0.01 is a start. Received: final_rate=0"
        )
