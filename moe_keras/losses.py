"""Losses of routers: plain functions of tensors.

The squared CV of importance and load is the paper's (arXiv:1701.06538,
section 4); `balance_loss` and `z_loss` came with later routers. None of them
is weighted.

N: tokens    E: experts
"""

import keras
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike


def cv_squared(values: ArrayLike, epsilon: float = 1e-10) -> tf.Tensor:
    """Computes the squared coefficient of variation: variance / mean^2.

    It is 0 where all values are equal, E - 1 where one expert gets all, and
    does not depend on the scale of the values. The variance is that of the
    population, so a single expert gives 0 and not NaN. No square root is
    taken, so the gradient at perfect balance is 0 and not NaN.

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


def importance_loss(importance: ArrayLike) -> tf.Tensor:
    """Evens out the gate values given to each expert (equations 6 and 7).

    A few tokens with large gates weigh as much as many tokens with small
    gates. `load_loss` evens out the number of tokens.

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


def load_loss(load: ArrayLike) -> tf.Tensor:
    """Evens out the number of tokens sent to each expert (equation 11).

    A number of tokens has no gradient. So while training, gates with noise
    return a smooth estimate of it: the probability, under fresh noise, that a
    token picks the expert, summed over the batch (equation 10).

    Args:
        load: Tensor of shape `(E,)`.

    Returns:
        Scalar tensor, `CV(load) ** 2`, without weight.

    Example:

    >>> print(f"{load_loss([7.0, 7.0, 7.0]):.3f}")
    0.000
    """
    return cv_squared(load)


def balance_loss(
    load: ArrayLike, probability: ArrayLike, num_tokens: ArrayLike
) -> tf.Tensor:
    """Evens out the choices through the probabilities of the router (f x P).

    `E * sum_e f_e P_e` (arXiv:2101.03961, equations 4 to 6), where f_e is the
    fraction of choices that fell on expert e, and P_e its mean probability in
    the softmax over *all* experts. It is 1 where either is even, and E where
    one expert gets all. Choices have no gradient. The gradient goes through P
    and lowers the probability of an expert in proportion to f.

    The fractions sum to 1, so the value does not depend on the number of
    experts of a token.

    Args:
        load: Tensor of shape `(E,)`, the number of choices of each expert.
        probability: Tensor of shape `(E,)`, the probabilities of the softmax
            summed over the batch.
        num_tokens: Number of tokens of the batch.

    Returns:
        Scalar tensor of the dtype of `probability`; 0 for an empty batch.

    Example:

    >>> # f = [3/4, 1/4, 0], P = [.5, .3, .2]: 3 * (.375 + .075).
    >>> loss = balance_loss([3, 1, 0], [2.0, 1.2, 0.8], num_tokens=4)
    >>> print(f"{loss:.2f}")
    1.35
    """
    probability_E = ops.convert_to_tensor(probability)
    load_E = ops.cast(load, probability_E.dtype)
    num_tokens = ops.cast(num_tokens, probability_E.dtype)
    fraction_E = ops.divide_no_nan(load_E, ops.sum(load_E))
    mean_E = ops.divide_no_nan(probability_E, num_tokens)
    return probability_E.shape[0] * ops.sum(fraction_E * mean_E)


def z_loss(
    logits: ArrayLike,
    mask: ArrayLike | None = None,
    num_tokens: ArrayLike | None = None,
) -> tf.Tensor:
    """Keeps the router's logits small (arXiv:2202.08906, equation 5).

    It is the mean over tokens of `logsumexp(logits) ** 2`. A softmax does not
    change where a number is added to all logits, but rounding errors grow.

    Args:
        logits: Tensor of shape `(N, E)`.
        mask: Optional boolean tensor of shape `(N,)`, False for tokens to
            leave out.
        num_tokens: The divisor of the sum over tokens; None for the number of
            tokens not left out. Where replicas share a batch, give the number
            of all replicas: then the sum over replicas is the loss.

    Returns:
        Scalar tensor of the dtype of `logits`; 0 for an empty batch.

    Example:

    >>> # log(1 + 1) and log(1 + 3), squared: (0.4805 + 1.9218) / 2.
    >>> print(f"{z_loss([[0.0, 0.0], [0.0, 1.0986123]]):.4f}")
    1.2011
    """
    logits_NE = ops.convert_to_tensor(logits)
    square_N = ops.square(ops.logsumexp(logits_NE, axis=-1))
    if mask is None:
        mask = ops.ones_like(square_N, dtype="bool")
    if num_tokens is None:
        num_tokens = ops.count_nonzero(mask)
    total = ops.sum(ops.where(mask, square_N, ops.zeros_like(square_N)))
    return ops.divide_no_nan(total, ops.cast(num_tokens, total.dtype))
