"""Routing: what every gate answers, and all that the layers behind it know.

N: tokens    E: experts    K: experts per token
"""

from types import MappingProxyType
from typing import Any, NamedTuple

import tensorflow as tf

from moe_keras.checks import check_mask, check_tokens


class Routing(NamedTuple):
    """Where each token goes, and the batch totals that keep experts balanced.

    It is the whole contract between gates and `SparseMoE`: any layer that
    maps tokens `(N, D)` and an optional mask `(N,)` to a `Routing`, and has
    an integer attribute `num_experts`, is a gate. A choice is named by its
    index and never by "gate above zero": a gate that underflows to zero still
    runs its expert.

    A gate may have these attributes as well:

    - `balances_itself = True`: it asks `SparseMoE` for no balancing losses by
      default.
    - `balance_knobs`: tuple of names of the arguments, its own or those of
      `SparseMoE`, to be raised where its load is uneven. Without it they are
      the weights of the losses of `SparseMoE`, or none if it balances itself.
    - `noise_knob`: name of the argument to be raised where it has too little
      noise. Verdicts on the routing name both (`moe_keras.monitoring`).
    - `knob_names`: dict from these to what a program calls them, where its
      users give them by other names.
    - `figure_names`: see `figures`.
    - `k`: mean number of experts per token. `SparseMoE` asks for it where it
      has a `capacity_factor` and K is known only when a batch is.
    - `batches_per_update`: it moves something once an update, and has to know
      how many batches, or calls, there are to one. 1 at first, and set by who
      accumulates gradients, as `trainers.engine.train_step` does.

    Attributes:
        expert_index: int32 `(N, K)`. The experts chosen for each token, the
            best first, none twice. -1 stands for no expert: padding, or a
            gate that chose fewer than `K` for this token.
        gate: float `(N, K)`. The weight of each chosen expert in the output.
            0 where `expert_index` is -1.
        importance: float `(E,)`. Gates summed over the batch, with gradient.
        load: float `(E,)`. Tokens per expert; while training a smooth
            estimate of it, with gradient, where the gate has one.
        loss: float scalar. What the gate asks to be added to the training
            loss, weighted already, for gates with a loss of their own.
        figures: dict of float scalars. What the gate tells of itself, summed
            over the tokens of the batch, such as the size of its noise; the
            same names in every call. Those that the gate lists in an
            attribute `figure_names` are watched, as means over the tokens
            (`moe_keras.monitoring`).

    Keras takes nothing but tensors for outputs: a gate that may stand in a
    functional model of its own fills in `loss` and `figures`, if with zero
    and an empty dict.

    Example:

    >>> routing = Routing(
    ...     expert_index=[[2, 0], [1, -1]],
    ...     gate=[[0.75, 0.25], [1.0, 0.0]],
    ...     importance=[0.25, 1.0, 0.75],
    ...     load=[1.0, 1.0, 1.0],
    ... )
    >>> routing.gate[0]
    [0.75, 0.25]
    """

    expert_index: Any
    gate: Any
    importance: Any
    load: Any
    loss: Any = 0.0
    figures: Any = MappingProxyType({})


def checked_mask(mask, inputs, depth):
    """Checks what a gate is called with; a mask of numbers becomes booleans.

    Args:
        mask: Tensor `(N,)`, or whatever can be one, or None.
        inputs: Tensor `(N, D)`.
        depth: int. Depth D that the gate was built for.

    Returns:
        Boolean tensor `(N,)`, or None.

    Raises:
        ValueError: If a shape is not as above.

    Example:

    >>> checked_mask([1, 0], inputs=tf.ones((2, 3)), depth=3).numpy()
    array([ True, False])
    """
    check_tokens(inputs, depth)
    if mask is None:
        return None
    mask = tf.cast(mask, "bool")
    check_mask(mask, inputs)
    return mask


def sum_by_expert(values, expert_index, num_experts):
    """Sums what the choices of a batch have over the experts they chose.

    Args:
        values: Tensor `(N, K)`, such as the gates.
        expert_index: int32 tensor `(N, K)`; -1 for no expert, left out.
        num_experts: int. Number of experts E.

    Returns:
        Tensor `(E,)`, whose gradient is a gather.

    Example:

    >>> sum_by_expert([[0.75, 0.25], [1.0, 0.5]], [[2, 0], [2, -1]], 3).numpy()
    array([0.25, 0.  , 1.75], dtype=float32)
    """
    return tf.math.unsorted_segment_sum(values, expert_index, num_experts)
