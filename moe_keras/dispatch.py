"""Dispatch and combine: from tokens to batches of experts, and back.

A plan is made once per batch from integers alone. With it `dispatch` gathers
the tokens of each expert into slots that lie together, and `combine` brings
the experts' results back and adds them up by gate. Each is the other's
backward pass, and both are gathers: no row is ever scattered, and nothing of
size N x E x C exists.

Slots come in two shapes. *Segments* (the default) have one slot for each
choice of a token, sorted by expert: nobody is dropped, nothing is padded.
*Batches* have C slots for every expert, `(E, C, D)`: a static shape, for XLA
and for experts that want one, in which tokens beyond C are dropped.

N: tokens    D: depth    E: experts    K: experts per token    C: capacity
A: choices, K x N    S: slots, A for segments and E x C for batches

Where K itself depends on the batch, most of the K places of a token are
empty. Segments then have slots for the choices with an expert alone.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from moe_keras.gradients.custom_gradient import custom_gradient
from moe_keras.xla import is_compiled_by_xla


class DispatchPlan(NamedTuple):
    """The token in each slot; made by `plan_dispatch`.

    Choices are numbered choice by choice: choice j of token n is j * N + n.

    Attributes:
        choice_index: int32 `(S,)`. The choice in each slot; A if it is empty.
        token_index: int32 `(S,)`. The token in each slot; N if it is empty.
        slot_index: int32 `(K, N)`. The slot of each choice; some other slot
            where it has none.
        has_slot: bool `(K, N)`, or None where every choice has a slot.
        counts: int32 `(E,)`. Slots that each expert uses.
        load: int32 `(E,)`. Choices that each expert got, before any is
            dropped.
        capacity: Slots of each expert, int or scalar tensor; None for
            segments.
    """

    choice_index: Any
    token_index: Any
    slot_index: Any
    has_slot: Any
    counts: Any
    load: Any
    capacity: Any

    def choices_with_slot(self):
        """Mask of the choices that have a slot and an expert, bool `(N, K)`."""
        if self.has_slot is not None:
            return tf.transpose(self.has_slot)
        # Segments: choices without an expert come last.
        return tf.transpose(self.slot_index < tf.reduce_sum(self.counts))


def plan_dispatch(
    expert_index,
    num_experts,
    mask=None,
    capacity=None,
    compact=False,
    room=None,
):
    """Sort the choices of a batch by expert.

    The sort is stable and choice by choice, so that with a capacity the
    first choices of all tokens come before any second choice, and tokens
    in their order.

    Args:
        expert_index: int32 `(N, K)`, as in `Routing`; -1 is no expert.
        num_experts: int. Number of experts E.
        mask: Optional boolean tensor `(N,)`; tokens to leave out are False.
        capacity: int or scalar int32 tensor, slots of each expert; "busiest"
            for as many as the busiest expert needs; None makes segments.
        compact: bool. Whether segments leave out choices without an expert,
            which saves memory if they are many. Always if K is not known.
        room: Optional int32 tensor `(E,)`, for capacity "busiest": at most so
            many choices of each expert get a slot, the first ones.

    Returns:
        A `DispatchPlan`. In segments the choices without an expert come
        last, behind those of all experts, or have no slot (see above).

    Example:

    >>> plan = plan_dispatch([[1], [0], [1], [-1]], num_experts=3)
    >>> plan.token_index.numpy().tolist(), plan.counts.numpy().tolist()
    ([1, 0, 2, 3], [1, 2, 0])
    """
    # Sort all choices A = K N by expert, those without an expert last. `order`
    # says which choice stands at each place, `rank` where each choice stands.
    expert_KN = tf.transpose(tf.convert_to_tensor(expert_index, tf.int32))
    if mask is not None:
        expert_KN = tf.where(mask, expert_KN, -1)
    expert_A = tf.reshape(expert_KN, [-1])
    load_E = tf.math.unsorted_segment_sum(
        tf.ones_like(expert_A), expert_A, num_experts
    )
    bin_A = tf.where(expert_A < 0, num_experts, expert_A)
    order_A = tf.argsort(bin_A, stable=True)
    # Static shapes are for XLA, perhaps of a graph around this one.
    is_static = capacity is not None and not isinstance(capacity, str)
    rank_A = _places_in(order_A, is_static or is_compiled_by_xla())
    rank_KN = tf.reshape(rank_A, tf.shape(expert_KN))
    if capacity is None:
        compact = compact or expert_KN.shape[0] is None
        return _segments(expert_KN, order_A, rank_KN, load_E, compact)
    if room is None:
        room = load_E
    if isinstance(capacity, str):
        needed_E = tf.minimum(load_E, room)
        capacity = tf.maximum(tf.reduce_max(needed_E), 1)
    return _batches(expert_KN, order_A, rank_KN, load_E, capacity, room)


def _places_in(order_A, for_xla):
    """The place of each choice in an order.

    XLA does not compile `invert_permutation` of values that it cannot tell
    beforehand; elsewhere it is the faster.
    """
    if not for_xla:
        return tf.math.invert_permutation(order_A)
    return tf.scatter_nd(
        order_A[:, None], tf.range(tf.size(order_A)), tf.shape(order_A)
    )


def _segments(expert_KN, order_A, rank_KN, load_E, compact):
    """A slot for each choice, in the order of experts."""
    has_slot_KN = None
    if compact:
        has_slot_KN = expert_KN >= 0
        rank_KN = tf.where(has_slot_KN, rank_KN, 0)
        # One at least: it is there that choices without a slot point to.
        order_A = order_A[: tf.maximum(tf.reduce_sum(load_E), 1)]
    return DispatchPlan(
        choice_index=order_A,
        token_index=order_A % tf.maximum(tf.shape(expert_KN)[1], 1),
        slot_index=rank_KN,
        has_slot=has_slot_KN,
        counts=load_E,
        load=load_E,
        capacity=None,
    )


def _batches(expert_KN, order_A, rank_KN, load_E, capacity, room_E):
    """C slots for each expert: slot c takes the c-th choice of its segment."""
    # Forward: slot c of expert e takes the choice at place start_e + c of the
    # sorted order. Backward: a choice finds its slot from its rank - start_e.
    num_tokens = tf.shape(expert_KN)[1]
    num_choices = tf.size(order_A)
    start_E = tf.cumsum(load_E, exclusive=True)
    counts_E = tf.minimum(tf.minimum(load_E, capacity), room_E)
    place_C = tf.range(capacity)
    used_EC = place_C < counts_E[:, None]
    source_EC = tf.where(used_EC, start_E[:, None] + place_C, num_choices)
    choice_S = tf.gather(
        tf.concat([order_A, num_choices[None]], 0), tf.reshape(source_EC, [-1])
    )
    token_S = choice_S % tf.maximum(num_tokens, 1)
    known_KN = tf.maximum(expert_KN, 0)
    place_KN = rank_KN - tf.gather(start_E, known_KN)
    has_slot_KN = (expert_KN >= 0) & (place_KN < tf.gather(counts_E, known_KN))
    return DispatchPlan(
        choice_index=choice_S,
        token_index=tf.where(tf.reshape(used_EC, [-1]), token_S, num_tokens),
        slot_index=tf.where(has_slot_KN, known_KN * capacity + place_KN, 0),
        has_slot=has_slot_KN,
        counts=counts_E,
        load=load_E,
        capacity=capacity,
    )


def dispatch(tokens, plan):
    """Gather each expert's tokens into its slots; `combine` is its gradient.

    Args:
        tokens: Tensor `(N, D)`.
        plan: A `DispatchPlan`.

    Returns:
        Tensor `(S, D)`; empty slots hold zeros.

    Example:

    >>> tokens = tf.constant([[1.0], [2.0], [3.0]])
    >>> plan = plan_dispatch([[1], [0], [1]], num_experts=2)
    >>> dispatch(tokens, plan).numpy().ravel().tolist()
    [2.0, 1.0, 3.0]
    """

    @custom_gradient
    def gather_tokens(tokens_ND):
        def backward(d_slots_SD):
            return combine(d_slots_SD, plan)

        rows_ND = tokens_ND
        if plan.capacity is not None:
            rows_ND = tf.pad(tokens_ND, [[0, 1], [0, 0]])
        return tf.gather(rows_ND, plan.token_index), backward

    return gather_tokens(tokens)


def combine(slots, plan, gate=None):
    """Add up the slots of each token; `dispatch` is its gradient.

    Args:
        slots: Tensor `(S, D)`, what the experts made of their slots.
        plan: The `DispatchPlan` by which they were filled.
        gate: Tensor `(N, K)`, the weight of each choice; None for 1.

    Returns:
        Tensor `(N, D)` of the dtype of `slots`; zeros for a token without a
        slot.

    Example:

    >>> plan = plan_dispatch([[0, 1], [1, 0]], num_experts=2)
    >>> slots = dispatch(tf.constant([[1.0], [2.0]]), plan)
    >>> gate = tf.constant([[0.9, 0.1], [0.5, 0.5]])
    >>> combine(slots, plan, gate).numpy().ravel().tolist()
    [1.0, 2.0]
    """
    if gate is None:

        @custom_gradient
        def add_slots(slots_SD):
            def backward(d_tokens_ND):
                return dispatch(d_tokens_ND, plan)

            return _sum_of_choices(slots_SD, plan, None), backward

        return add_slots(slots)

    @custom_gradient
    def weigh_slots(slots_SD, gate_KN):
        def backward(d_tokens_ND):
            rows_SD = dispatch(d_tokens_ND, plan)
            # The router's mathematics is in its own dtype, products included.
            d_gate_S = tf.reduce_sum(
                tf.cast(rows_SD, gate_KN.dtype)
                * tf.cast(slots_SD, gate_KN.dtype),
                axis=-1,
            )
            d_gate_KN = tf.gather(d_gate_S, plan.slot_index)
            if plan.has_slot is not None:
                d_gate_KN = tf.where(plan.has_slot, d_gate_KN, 0.0)
            return rows_SD * _gate_of_slots(gate_KN, plan, rows_SD), d_gate_KN

        gate_KN = tf.identity(gate_KN)
        return _sum_of_choices(slots_SD, plan, gate_KN), backward

    return weigh_slots(slots, tf.transpose(gate))


def _sum_of_choices(slots_SD, plan, gate_KN):
    def weighed_rows(choice):
        rows_ND = tf.gather(slots_SD, plan.slot_index[choice])
        if gate_KN is not None:
            rows_ND *= tf.cast(gate_KN[choice][:, None], rows_ND.dtype)
        if plan.has_slot is not None:
            rows_ND = tf.where(plan.has_slot[choice][:, None], rows_ND, 0.0)
        return rows_ND

    num_choices = plan.slot_index.shape[0]
    if num_choices is not None:
        return sum(weighed_rows(choice) for choice in range(num_choices))
    num_choices, num_tokens = tf.unstack(tf.shape(plan.slot_index))
    return tf.while_loop(
        lambda choice, _: choice < num_choices,
        lambda choice, total_ND: (choice + 1, total_ND + weighed_rows(choice)),
        (0, tf.zeros((num_tokens, slots_SD.shape[-1]), slots_SD.dtype)),
    )[1]


def _gate_of_slots(gate_KN, plan, like):
    gate_A = tf.reshape(gate_KN, [-1])
    if plan.capacity is not None:
        gate_A = tf.pad(gate_A, [[0, 1]])
    return tf.cast(tf.gather(gate_A, plan.choice_index)[:, None], like.dtype)
