"""Dispatch in two steps: tokens to the devices of their experts, and there
each to its expert.

    tokens (n, D) of a device
      -> rows (R C, D)    C places for each of the R devices: all-to-all
      -> rows (R C, D)    from each device the rows for the experts here
      -> slots (S, D)     sorted by expert: the experts
      -> rows (R C, D)    and back by the way they came
      -> tokens (n, D')   the results of a token's choices, added by gate

Both steps are `dispatch` and `combine`, the first with devices in the place of
experts. The caller chooses the exchange between them. Where all tokens are on
one device there is no exchange: each device is sent its rows.

N: all tokens    n: those of a device    D: depth    K: experts per token
R: devices    C: places for each device
"""

import tensorflow as tf

from moe_keras.dispatch import combine, dispatch, plan_dispatch
from moe_keras.experts.in_parts import run_in_parts
from moe_keras.placement.placement import run_experts


def plan_devices(expert_index, experts_each, num_devices, places):
    """Plan the first step: which choices go to which device.

    Args:
        expert_index: int32 `(n, K)`; -1 is no expert.
        experts_each: int. Experts of each device, in their order: the first
            device has the first `experts_each`.
        num_devices: int. R.
        places: int or scalar int32 tensor. C, the same on all devices: at
            least as many as any of them needs.

    Returns:
        `DispatchPlan` of R batches of C places.

    Example:

    >>> plan = plan_devices([[0], [3], [2]], 2, num_devices=2, places=2)
    >>> plan.token_index.numpy().tolist()  # 3 is nobody
    [0, 3, 1, 2]
    """
    return plan_dispatch(
        _device_of(expert_index, experts_each), num_devices, capacity=places
    )


def plan_visits(expert_index, experts_each, num_devices):
    """Plan which tokens go to which device, if one device has all tokens.

    A token visits a device once, however many of its experts are there.

    Args:
        expert_index: int32 `(N, K)`; -1 is no expert.
        experts_each: int. Experts of a device, as for `plan_devices`.
        num_devices: int. R.

    Returns:
        `DispatchPlan` of R segments, without slots for tokens that visit
        nobody.

    Example:

    >>> plan = plan_visits([[0, 1], [3, 0], [2, -1]], 2, num_devices=2)
    >>> plan.token_index.numpy().tolist(), plan.counts.numpy().tolist()
    ([0, 1, 1, 2], [2, 2])
    """
    target_NK = _device_of(expert_index, experts_each)
    sorted_NK = tf.ensure_shape(tf.sort(target_NK, axis=1), target_NK.shape)
    before_NK = tf.pad(sorted_NK[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
    once_NK = tf.where(sorted_NK == before_NK, -1, sorted_NK)
    return plan_dispatch(once_NK, num_devices, compact=True)


def places_needed(expert_index, source, experts_each, num_devices):
    """Count the most choices that any device has for any other.

    Args:
        expert_index: int32 `(N, K)` of tokens of several devices.
        source: int32 `(N,)`. The device of each token.
        experts_each: int. Experts of a device.
        num_devices: int. R.

    Returns:
        Scalar int32 tensor, 1 or more.

    Example:

    >>> places = places_needed([[0], [3], [2]], [0, 0, 1], 2, num_devices=2)
    >>> int(places)
    1
    """
    target_NK = _device_of(expert_index, experts_each)
    pair_NK = num_devices * tf.convert_to_tensor(source)[:, None] + target_NK
    pair_NK = tf.where(target_NK < 0, -1, pair_NK)
    counts = tf.math.unsorted_segment_sum(
        tf.ones_like(pair_NK), pair_NK, num_devices**2
    )
    return tf.maximum(tf.reduce_max(counts), 1)


def expert_of_rows(expert_index, plan):
    """Look up the expert index of each row, which is sent with it.

    Args:
        expert_index: int32 `(n, K)`.
        plan: `DispatchPlan` of `plan_devices`.

    Returns:
        int32 `(R C,)`; -1 for empty places.

    Example:

    >>> plan = plan_devices([[0], [3], [2]], 2, num_devices=2, places=2)
    >>> expert_of_rows([[0], [3], [2]], plan).numpy().tolist()
    [0, -1, 3, 2]
    """
    expert_A = tf.reshape(tf.transpose(expert_index), [-1])
    return tf.gather(tf.concat([expert_A, [-1]], 0), plan.choice_index)


def run_local_experts(experts, local, rows, expert_index, gate=None):
    """Run the second step: the experts of one device on its rows.

    Args:
        experts: Layer of experts.
        local: `LocalExperts` of the device.
        rows: Tensor `(n, D)`.
        expert_index: int32 `(n, K)`, numbers among all experts. Those of
            other devices are left out.
        gate: Tensor `(n, K)`; None for 1.

    Returns:
        Tensor `(n, D')`; zeros for rows of other devices' experts.
    """
    own_nK = expert_index - local.first_expert
    is_own_nK = (own_nK >= 0) & (own_nK < local.num_experts)
    as_segments = getattr(experts, "supports_segments", False)
    plan = plan_dispatch(
        tf.where(is_own_nK, own_nK, -1),
        local.num_experts,
        capacity=None if as_segments else "busiest",
        compact=True,
    )
    slots = dispatch(rows, plan)
    # Experts that cannot be split are all on every device.
    local = local if getattr(experts, "splits", ()) else None
    results = run_in_parts(
        experts, lambda: run_experts(experts, slots, plan, local)
    )
    return combine(results, plan, gate)


def _device_of(expert_index, experts_each):
    expert_index = tf.convert_to_tensor(expert_index, tf.int32)
    return tf.where(expert_index < 0, -1, expert_index // experts_each)
