"""The number of tokens that each expert may take of a batch.

N: tokens    E: experts    K: experts per token
"""

import fractions

import tensorflow as tf


def slots_of_expert(num_tokens, k, num_experts, factor=1):
    """Divides the choices of a batch evenly: `ceil(factor * k * N / E)`.

    `factor` and `k` count as the decimal numbers that they are written as. In
    binary floating point 1.1 * 100 / 10 is 11.000000000000002, which would
    round up to 12.

    Args:
        num_tokens: int, or integer scalar tensor. N.
        k: Number, the mean number of experts per token.
        num_experts: int. E.
        factor: Number. Slots of an expert over those that an even load needs.

    Returns:
        int, or int32 scalar tensor: at least 1, and at most N where N is not 0.

    Example:

    >>> slots_of_expert(100, k=1, num_experts=10, factor=1.1)
    11
    >>> int(slots_of_expert(tf.constant(7), k=2, num_experts=4))  # 3.5
    4
    """
    per_token = min(_exact(factor) * _exact(k) / num_experts, 1)
    # Within 64 bits for 10^7 tokens, and exact for all but odd factors.
    per_token = per_token.limit_denominator(10**11)
    part, whole = per_token.numerator, per_token.denominator
    if not tf.is_tensor(num_tokens):
        return max(1, -(-part * num_tokens // whole))
    slots = (part * tf.cast(num_tokens, "int64") + (whole - 1)) // whole
    return tf.cast(tf.maximum(slots, 1), "int32")


def _exact(number):
    """The shortest decimal number that reads as this one."""
    return fractions.Fraction(str(number)).limit_denominator(10**6)
