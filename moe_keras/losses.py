"""Balancing losses (arXiv:1701.06538, section 4): plain functions of tensors.

E: experts
"""

import keras
from keras import ops


def cv_squared(values, epsilon=1e-10):
    """Squared coefficient of variation: variance over squared mean.

    It is 0 when all values are equal, does not change when all of them are
    multiplied by one number, and grows to `E - 1` when one expert gets all.
    The variance is the population's, so a single expert gives 0 and not NaN;
    no square root is taken, so the gradient at perfect balance is 0 and not
    NaN.

    Args:
        values: Tensor of shape `(E,)`, none below zero.
        epsilon: float. Added to the squared mean, so that an empty batch
            gives 0.

    Returns:
        Scalar tensor of the dtype of `values` (`floatx` for integers).

    Example:

    >>> # Mean 3, variance 3.5, so CV^2 = 3.5 / 9.
    >>> print(f"{cv_squared([1.0, 2.0, 3.0, 6.0]):.6f}")
    0.388889
    """
    values_E = ops.convert_to_tensor(values)
    if not keras.backend.is_float_dtype(values_E.dtype):
        values_E = ops.cast(values_E, keras.config.floatx())
    mean = ops.mean(values_E)
    variance = ops.mean(ops.square(values_E - mean))
    return variance / (ops.square(mean) + epsilon)


def importance_loss(importance):
    """Evens out the gate values given to each expert (equations 6 and 7).

    Importance is what each expert adds to the output, counted in gate values:
    a few tokens with large gates weigh as much as many with small ones.
    `load_loss` is for the number of tokens.

    Args:
        importance: Tensor of shape `(E,)`, the gates summed over the batch.

    Returns:
        Scalar tensor, `CV(importance) ** 2`, without weight.

    Example:

    >>> # Two of three experts share all: mean 2/3, variance 2/9.
    >>> print(f"{importance_loss([1.0, 1.0, 0.0]):.3f}")
    0.500
    """
    return cv_squared(importance)


def load_loss(load):
    """Evens out the number of tokens sent to each expert (equation 11).

    The number itself has no gradient. While training, gates give its smooth
    estimate: the probability, under fresh noise, that a token picks the
    expert, summed over the batch (equation 10).

    Args:
        load: Tensor of shape `(E,)`.

    Returns:
        Scalar tensor, `CV(load) ** 2`, without weight.

    Example:

    >>> print(f"{load_loss([7.0, 7.0, 7.0]):.3f}")
    0.000
    """
    return cv_squared(load)
