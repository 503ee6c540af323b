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
        int, or int32 scalar tensor, from 0 (of no tokens) to N.

    Example:

    >>> slots_of_expert(100, k=1, num_experts=10, factor=1.1)
    11
    >>> int(slots_of_expert(tf.constant(7), k=2, num_experts=4))  # 3.5
    4
    """
    per_token = _exact(factor) * _exact(k) / num_experts
    # So the product below stays within 64 bits for up to 10^7 tokens.
    per_token = _simplified(min(per_token, fractions.Fraction(1)), 10**11)
    part, whole = per_token.numerator, per_token.denominator
    if not tf.is_tensor(num_tokens):
        return -(-part * num_tokens // whole)
    slots = (part * tf.cast(num_tokens, "int64") + (whole - 1)) // whole
    return tf.cast(slots, "int32")


def _exact(number):
    """Reads a number as its shortest decimal form, and 1.6666666667 as 5/3."""
    return _simplified(fractions.Fraction(str(number)), 10**6)


def _simplified(fraction, largest):
    return fraction.limit_denominator(largest) or fraction
