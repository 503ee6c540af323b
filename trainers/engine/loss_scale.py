"""A factor on the loss, for gradients that float16 would lose."""

import math

import tensorflow as tf

# So many finite steps in a row, and a larger factor is tried.
GROW_EVERY = 2000
_LARGEST = 2.0**24


class LossScale(tf.Module):
    """Factor that finds its own size (arXiv:1710.03740, section 3.2).

    float16 has no number between 0 and 6e-8, and none above 65504. The loss
    is multiplied by the factor, so that gradients fall between the two, and
    the finished gradients, in float32, are divided by it. If a gradient became
    infinite, the step is skipped and the factor halved. After `GROW_EVERY`
    finite steps the factor is doubled.

    Checkpoints keep both variables.

    Args:
        initial: float. The first factor; a power of two rounds nothing.

    Raises:
        ValueError: if it is below 1.

    Example:

    >>> from trainers.engine.train_step import StepResult
    >>> loss_scale = LossScale(1024.0)
    >>> infinite = StepResult(2.5, 8.0, float("inf"), False)
    >>> loss_scale.was_too_large(infinite), float(loss_scale.factor)
    (True, 512.0)
    """

    def __init__(self, initial):
        super().__init__(name="loss_scale")
        check_loss_scale(initial)
        self.factor = tf.Variable(
            initial, dtype=tf.float32, trainable=False, name="factor"
        )
        self.finite_steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def was_too_large(self, result):
        """Adapts the factor after a step.

        Args:
            result: `StepResult`.

        Returns:
            bool. Whether the step is lost to the factor, which was halved:
            the loss is finite, its gradient not. At a factor of 1 it never
            is.
        """
        if result.is_finite:
            self._count()
            return False
        self.finite_steps.assign(0)
        if not math.isfinite(result.loss) or float(self.factor) < 2:
            return False
        self.factor.assign(self.factor / 2)
        return True

    def _count(self):
        if int(self.finite_steps.assign_add(1)) >= GROW_EVERY:
            self.finite_steps.assign(0)
            self.factor.assign(tf.minimum(2 * self.factor, _LARGEST))


def check_loss_scale(initial):
    """Raises a ValueError unless it is a factor to begin with."""
    if not 1 <= initial < math.inf:
        raise ValueError(
            "`loss_scale` must be at least 1, as 32768, or 0 for none. "
            f"Received: {initial}"
        )
