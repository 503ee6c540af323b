"""A weight in several variables, each with a part of it on its own device.

E: experts    D: depth    H: hidden size
"""

import itertools

from moe_keras.placement.shards import Shard
from moe_keras.placement.split_weight import SplitWeight


class ShardedWeight(SplitWeight):
    """`SplitWeight` with a variable for each shard, on the shard's device.

    Args:
        name: str.
        variables: List of Keras variables that `mark` has marked, in the order
            of the experts, and of the hidden dimension within those.

    Example:

    >>> import keras
    >>> from moe_keras.placement.shards import mark
    >>> variables = [keras.Variable([[1.0]]), keras.Variable([[2.0]])]
    >>> for number, variable in enumerate(variables):
    ...     piece = (slice(number, number + 1), slice(0, 1))
    ...     mark(variable, Shard("moe/kernel", (2, 1), (piece,), axis=0))
    >>> weight = ShardedWeight("kernel", variables)
    >>> weight.assign([[3.0], [4.0]])
    >>> weight.numpy().tolist(), weight.shards[1].numpy().tolist()
    ([[3.0], [4.0]], [[4.0]])
    """


def split(dims, parts, side_by_side=1):
    """Cuts a weight into shards.

    Args:
        dims: dict of sizes by names of dimensions, "experts" first.
        parts: dict. Into how many parts "experts" and "hidden" are cut; they
            divide the sizes.
        side_by_side: int. Kernels that lie side by side in the last
            dimension, each of which is cut.

    Returns:
        List of `((expert part, hidden part), Shard)`, the shards without a
        path yet. A weight without "hidden" has no other hidden part than 0.

    Example:

    >>> dims = {"experts": 4, "depth": 3, "hidden": 6}
    >>> for part, shard in split(dims, {"experts": 1, "hidden": 2}):
    ...     part, [(s.start, s.stop) for s in shard.pieces[0]]
    ((0, 0), [(0, 4), (0, 3), (0, 3)])
    ((0, 1), [(0, 4), (0, 3), (3, 6)])
    """
    names, shape = list(dims), tuple(dims.values())
    axis = names.index("hidden") if "hidden" in dims else 0
    hidden_parts = parts["hidden"] if "hidden" in dims else 1
    sides = side_by_side if hidden_parts > 1 else 1

    def piece(expert_part, hidden_part, side):
        slices = [slice(0, size) for size in shape]
        slices[axis] = _part(
            shape[axis],
            hidden_parts * sides,
            side * hidden_parts + hidden_part,
        )
        slices[0] = _part(shape[0], parts["experts"], expert_part)
        return tuple(slices)

    return [
        (
            part,
            Shard(
                "",
                shape,
                tuple(piece(*part, side) for side in range(sides)),
                axis,
            ),
        )
        for part in itertools.product(
            range(parts["experts"]), range(hidden_parts)
        )
    ]


def _part(size, parts, number):
    """The slice that is part `number` of as many equal ones."""
    length = size // parts
    return slice(number * length, (number + 1) * length)
