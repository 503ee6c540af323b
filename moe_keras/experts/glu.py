"""Functions that join the two halves of a gated hidden layer.

H: hidden size
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_above_0


@keras.saving.register_keras_serializable(package="moe_keras")
class ClampedGLU:
    """The gated linear unit of GPT-OSS (arXiv:2508.10925).

    `(linear + 1) * gate * sigmoid(alpha * gate)`, with `gate` cut off above
    `limit` and `linear` outside of `-limit` to `limit`.

    Args:
        limit: float above 0.
        alpha: float above 0.

    Call arguments:
        gate: Tensor `(..., H)`.
        linear: Tensor of the same shape.

    Returns:
        Tensor `(..., H)`.

    Raises:
        ValueError: If an argument is not above 0.

    Example:

    >>> glu = ClampedGLU(limit=7.0)
    >>> f"{float(glu(tf.constant(100.0), tf.constant(-100.0))):.1f}"  # 7 * -6
    '-42.0'
    """

    def __init__(self, limit=7.0, alpha=1.702):
        check_above_0("limit", limit)
        check_above_0("alpha", alpha)
        self.limit = limit
        self.alpha = alpha

    def __call__(self, gate, linear):
        gate = tf.minimum(gate, self.limit)
        linear = tf.clip_by_value(linear, -self.limit, self.limit)
        return (linear + 1) * gate * tf.sigmoid(self.alpha * gate)

    def get_config(self):
        return {"limit": self.limit, "alpha": self.alpha}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def checked_glu(glu, size):
    """Try a function that joins the halves of a hidden layer.

    Args:
        glu: Function `(gate, linear) -> hidden`, or its config.
        size: int. Hidden size H.

    Returns:
        The function.

    Raises:
        ValueError: If it is no function of two tensors `(N, H)` that makes one
            of the same shape, or has variables.

    Example:

    >>> checked_glu(tf.add, 4) is tf.add
    True
    >>> checked_glu(lambda gate, linear: gate[:, :2], 4)
    Traceback (most recent call last):
    ...
    ValueError: `glu` must be a function `(gate, linear) -> hidden` without \
variables, of tensors of one shape. Received: a function that makes (1, 2) of \
twice (1, 4)
    """
    if isinstance(glu, dict):
        glu = keras.saving.deserialize_keras_object(glu)
    said = (
        "`glu` must be a function `(gate, linear) -> hidden` without "
        "variables, of tensors of one shape. Received: "
    )
    if not callable(glu):
        raise ValueError(f"{said}glu={glu!r}")
    zeros = tf.zeros((1, size))
    with tf.GradientTape() as tape:
        hidden = tf.convert_to_tensor(glu(zeros, zeros))
    if tape.watched_variables():
        names = ", ".join(v.name for v in tape.watched_variables())
        raise ValueError(f"{said}a function that reads {names}")
    if tuple(hidden.shape) != (1, size):
        raise ValueError(
            f"{said}a function that makes {tuple(hidden.shape)} of twice "
            f"{(1, size)}"
        )
    return glu
