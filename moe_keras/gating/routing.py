"""`Routing`: what every gate returns, and all that the layers behind it see.

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
    an integer attribute `num_experts`, is a gate. (`Router` is a base class
    for one.) A choice is named by its index and never by "gate above zero": a
    gate that underflows to zero still runs its expert.

    A gate may also have these attributes:

    - `balances_itself = True`: by default `SparseMoE` adds no balancing loss.
    - `has_loss = False`: `loss` is 0 for every batch.
    - `balance_knobs`: tuple of the names of arguments, of the gate or of
      `SparseMoE`, to raise where the load is uneven. By default the weights
      of the losses of `SparseMoE`, or none if the gate balances itself.
    - `noise_knob`: name of the argument to raise where the gate has too
      little noise. The advice of `moe_keras.monitoring` names both.
    - `knob_names`: dict from these names to those by which the users of a
      program set them.
    - `no_decay`: names of trainable weights that weight decay would spoil.
    - `metric_names`: see `metrics`.
    - `k`: mean number of experts per token. `SparseMoE` needs it where it has
      a `capacity_factor` and K differs from batch to batch.
    - `batches_per_update`: for a gate that moves something once an update,
      the number of batches of an update. 1 at first; whoever accumulates
      gradients sets it, as `trainers.engine.train_step` does.

    Attributes:
        expert_index: int32 `(N, K)`. The experts chosen for each token, the
            best first, none twice. -1 stands for no expert: padding, or a
            gate that chose fewer than `K` for this token.
        gate: float `(N, K)`. The weight of each chosen expert in the output.
            0 where `expert_index` is -1.
        importance: float `(E,)`. Gates summed over the batch, with gradient.
        load: float `(E,)`. Tokens per expert; while training a smooth
            estimate of it, with gradient, where the gate has one.
        loss: float scalar. The gate's own loss, weighted already, which
            `SparseMoE` adds to the training loss.
        metrics: dict of float scalars. What the gate tells of itself, summed
            over the tokens of the batch, such as the size of its noise; the
            same names in every call. Those that the gate lists in an
            attribute `metric_names` are watched, as means over the tokens
            (`moe_keras.monitoring`).

    Keras takes only tensors for outputs. So a gate that may be the output of
    a functional model fills in `loss` and `metrics`, if only with zero and an
    empty dict.

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
    metrics: Any = MappingProxyType({})


def checked_mask(mask, inputs, depth):
    """Checks the arguments of a gate's call; turns a mask into booleans.

    Args:
        mask: Tensor `(N,)`, something that converts to one, or None.
        inputs: Tensor `(N, D)`.
        depth: int. The depth D for which the gate was built.

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
    """Sums values of choices by the expert that each of them chose.

    Args:
        values: Tensor `(N, K)`, such as the gates.
        expert_index: int32 tensor `(N, K)`; -1 for no expert, left out.
        num_experts: int. Number of experts E.

    Returns:
        Tensor `(E,)`. Its gradient is a gather.

    Example:

    >>> sum_by_expert([[0.75, 0.25], [1.0, 0.5]], [[2, 0], [2, -1]], 3).numpy()
    array([0.25, 0.  , 1.75], dtype=float32)
    """
    return tf.math.unsorted_segment_sum(values, expert_index, num_experts)
