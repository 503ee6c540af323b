"""The sizes that determine a gate, and what the gate costs.

D: depth    E: experts    K: experts per token    G: groups of experts
"""

import dataclasses
import math
from typing import NamedTuple


@dataclasses.dataclass(frozen=True)
class GateSizes:
    """The sizes that determine a gate, under the same names for every gate.

    Example:

    >>> GateSizes(depth=8, num_experts=4, k=2).groups
    1
    """

    depth: int  # D
    num_experts: int  # E
    k: int  # K, or the mean where it differs from token to token
    groups: int = 1  # G; only `uses_groups` gates look at it
    groups_per_token: int = 1  # the same
    bias: bool = False  # whether its logits have a trained bias


class GateCost(NamedTuple):
    """What a gate costs.

    Attributes:
        weights: dict of the shapes of its trainable weights, by name.
        ops: int. Multiply-adds for a token.
        kept: int. Numbers for a token that the backward pass needs.

    Example:

    >>> GateCost({"gate_kernel": (8, 4)}, ops=32, kept=4).parameters
    32
    """

    weights: dict
    ops: int
    kept: int

    @property
    def parameters(self):
        """Number of trainable parameters."""
        return sum(map(math.prod, self.weights.values()))
