"""Capacity of experts, also in a batch that replicas share.

K: experts per token    N: tokens of a replica    E: experts    R: replicas
"""

import fractions

import tensorflow as tf

from moe_keras.dispatch import plan_dispatch
from moe_keras.placement.replicas import (
    gather_over_replicas,
    num_replicas,
    replica_index,
    sum_over_replicas,
)


def plan_with_capacity(
    expert_index, num_experts, capacity_factor, mask=None, k=None
):
    """Make a plan in which each expert takes a bounded number of tokens.

    The bound is `capacity_factor * K * N / E`, rounded up, at least 1 and at
    most N, where N counts the tokens of all replicas, padding included.

    Args:
        expert_index: int32 tensor `(N, K)`; -1 is no expert.
        num_experts: int. E.
        capacity_factor: float.
        mask: Optional boolean tensor `(N,)`.
        k: Mean number of experts per token, if K is not known.

    Returns:
        `DispatchPlan` of batches.

    Example:

    >>> plan = plan_with_capacity([[0], [0], [0], [1]], 2, capacity_factor=1.0)
    >>> plan.counts.numpy().tolist(), plan.load.numpy().tolist()
    ([2, 1], [3, 1])
    """
    expert_index = tf.convert_to_tensor(expert_index, tf.int32)
    num_tokens, known_k = expert_index.shape
    if num_tokens is None or num_replicas() > 1:
        num_tokens = sum_over_replicas(tf.shape(expert_index)[0])
    slots = slots_of_expert(
        num_tokens, known_k or k, num_experts, capacity_factor
    )
    capacity = max(1, slots) if type(slots) is int else tf.maximum(1, slots)
    if num_replicas() == 1:
        return plan_dispatch(expert_index, num_experts, mask, capacity)
    room_E = room_on_replica(expert_index, num_experts, capacity, mask)
    return plan_dispatch(
        expert_index, num_experts, mask, "busiest", room=room_E
    )


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


def room_on_replica(expert_index, num_experts, capacity, mask=None):
    """Count the choices of this replica within each expert's capacity.

    An expert takes choices in one order, whoever holds them: first choices
    of all tokens before any second choice, and tokens in their order, those
    of replica 0 first. So the same ones are dropped as on one device.

    Args:
        expert_index: int32 tensor `(N, K)`; -1 is no expert.
        num_experts: int. E.
        capacity: int or scalar tensor, slots of each expert for the whole
            batch.
        mask: Optional boolean tensor `(N,)`.

    Returns:
        int32 tensor `(E,)`, for `plan_dispatch`.

    Example:

    >>> room_on_replica([[0], [0], [1]], num_experts=2, capacity=1).numpy()
    array([1, 1], dtype=int32)
    """
    # Gather how many j-th choices of each replica fell on each expert, and
    # count with it how many choices stand ahead of this replica's own.
    expert_KN = tf.transpose(tf.convert_to_tensor(expert_index, tf.int32))
    if mask is not None:
        expert_KN = tf.where(mask, expert_KN, -1)
    load_RKE = gather_over_replicas(_load_by_choice(expert_KN, num_experts))
    until_RKE = tf.cumsum(load_RKE, axis=1)
    before_RKE = until_RKE - load_RKE
    index = replica_index()
    # These choices come before my j-th ones: all up to the j-th of replicas
    # before me, and all up to the (j-1)-th of replicas behind me.
    ahead_KE = tf.reduce_sum(until_RKE[:index], 0)
    ahead_KE += tf.reduce_sum(before_RKE[index + 1 :], 0)
    last_KE = tf.minimum(until_RKE[index], capacity - ahead_KE)
    return tf.reduce_sum(tf.maximum(last_KE - before_RKE[index], 0), 0)


def _load_by_choice(expert_KN, num_experts):
    """Count the j-th choices of each expert: `(K, E)`."""
    most = expert_KN.shape[0]
    if most is None:
        most = num_experts  # a token has none of them twice
    choice_K1 = tf.range(tf.shape(expert_KN)[0])[:, None]
    bin_KN = tf.where(expert_KN < 0, -1, choice_K1 * num_experts + expert_KN)
    load = tf.math.unsorted_segment_sum(
        tf.ones_like(bin_KN), bin_KN, most * num_experts
    )
    return tf.reshape(load, [most, num_experts])
