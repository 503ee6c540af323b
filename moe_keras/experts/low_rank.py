"""LoRA for stacked experts: a low-rank pair for each kernel of each expert.

`W + (alpha / rank) A B` takes the place of W, which is frozen
(arXiv:2106.09685). A and B have the experts as their first dimension, as W
has, so that a placement splits them as it splits W.

E: experts    r: rank
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_above_0, check_sizes
from moe_keras.experts.kernels import LowRankKernels


class LowRankPairs:
    """The pairs of a layer of stacked experts; `enable_lora` makes them.

    Args:
        rank: int. r, of each expert.
        alpha: float. `alpha / rank` multiplies the product; None for `rank`.
        a_initializer: Initializer of A, drawn for each expert alone.
        b_initializer: Initializer of B; zeros leave the outputs as they are.

    Raises:
        ValueError: If `rank` is not an int from 1 on, or `alpha` not above 0.

    Example:

    >>> LowRankPairs(rank=4, alpha=8).scale
    2.0
    """

    def __init__(
        self,
        rank,
        alpha=None,
        a_initializer="he_uniform",
        b_initializer="zeros",
    ):
        check_sizes(rank=rank)
        alpha = rank if alpha is None else alpha
        check_above_0("lora_alpha", alpha)
        self.rank = rank
        self.alpha = alpha
        self.initializers = [
            keras.initializers.get(initializer)
            for initializer in (a_initializer, b_initializer)
        ]

    @property
    def scale(self):
        """What the product of a pair is multiplied by."""
        return self.alpha / self.rank

    def weights_for(self, name, dims, side_by_side):
        """List what to add for a kernel.

        Args:
            name: str.
            dims: dict of sizes of the kernel, "experts" first.
            side_by_side: int. Kernels side by side in it.

        Returns:
            List of `(name, initializer, side_by_side, dims)`, of A and of B.
        """
        experts, into, out = dims
        a_name, b_name = names_of_pair(name)
        a, b = self.initializers
        return [
            (a_name, a, 1, {into: dims[into], "rank": self.rank}),
            (b_name, b, side_by_side, {"rank": self.rank, out: dims[out]}),
        ]

    def added(self, kernel, a, b):
        """The kernel with its pair, as tensors of one dtype."""
        return kernel + tf.cast(self.scale, kernel.dtype) * tf.matmul(a, b)

    def beside(self, kernel, a, b):
        """The kernel and its pair, not added: the kernel has no gradient."""
        return LowRankKernels(kernel, a, b, self.scale)


def names_of_pair(name):
    """Names of A and B of a kernel.

    >>> names_of_pair("kernel_in")
    ('kernel_in_lora_a', 'kernel_in_lora_b')
    """
    return f"{name}_lora_a", f"{name}_lora_b"
