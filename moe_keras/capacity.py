"""Plans with a capacity, also of a batch that replicas share.

K: experts per token    N: tokens of a replica    E: experts    R: replicas
"""

import math

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
    slots_of_token = capacity_factor * (known_k or k) / num_experts
    if num_tokens is not None and num_replicas() == 1:
        slots = math.ceil(slots_of_token * num_tokens)
        capacity = max(1, min(num_tokens, slots))
    else:
        num_tokens = sum_over_replicas(tf.shape(expert_index)[0])
        slots = tf.math.ceil(slots_of_token * tf.cast(num_tokens, "float64"))
        slots = tf.minimum(num_tokens, tf.cast(slots, "int32"))
        capacity = tf.maximum(1, slots)
    if num_replicas() == 1:
        return plan_dispatch(expert_index, num_experts, mask, capacity)
    room_E = room_on_replica(expert_index, num_experts, capacity, mask)
    return plan_dispatch(
        expert_index, num_experts, mask, "busiest", room=room_E
    )


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
    expert_KN = tf.transpose(tf.convert_to_tensor(expert_index, tf.int32))
    if mask is not None:
        expert_KN = tf.where(mask, expert_KN, -1)
    load_RKE = gather_over_replicas(_load_by_choice(expert_KN, num_experts))
    until_RKE = tf.cumsum(load_RKE, axis=1)
    before_RKE = until_RKE - load_RKE
    index = replica_index()
    # Ahead of my j-th choices are those of replicas before me up to their
    # j-th, of those behind me up to the one before.
    ahead_KE = tf.reduce_sum(until_RKE[:index], 0)
    ahead_KE += tf.reduce_sum(before_RKE[index + 1 :], 0)
    last_KE = tf.minimum(until_RKE[index], capacity - ahead_KE)
    return tf.reduce_sum(tf.maximum(last_KE - before_RKE[index], 0), 0)


def _load_by_choice(expert_KN, num_experts):
    """How many j-th choices fell on each expert: `(K, E)`."""
    most = expert_KN.shape[0]
    if most is None:
        most = num_experts  # a token has none of them twice
    choice_K1 = tf.range(tf.shape(expert_KN)[0])[:, None]
    bin_KN = tf.where(expert_KN < 0, -1, choice_K1 * num_experts + expert_KN)
    load = tf.math.unsorted_segment_sum(
        tf.ones_like(bin_KN), bin_KN, most * num_experts
    )
    return tf.reshape(load, [most, num_experts])
