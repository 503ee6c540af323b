"""The experts that one device runs, handed to the call of a layer of experts.

E: experts    S: slots
"""

import dataclasses
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class LocalExperts:
    """Some of a layer's experts, with the tensors of their weights.

    A placement that splits the experts calls their layer once for each device,
    `experts(inputs, counts=counts, local=local)`. The layer then runs these
    experts alone. It takes weights from `weights` and nowhere else: its own
    variables may be on other devices, or hold other experts.

    Not a tuple: Keras would convert and cast what is in one.

    Attributes:
        weights: dict of tensors by the names that were given to
            `StackedExperts.add_expert_weight`, `(num_experts, ...)` each.
        first_expert: int or scalar tensor. Number of the first of them.
        num_experts: int. How many experts these are.
        hidden_part: int or scalar tensor. Which slice of the hidden dimension
            the weights hold; 0 for the first, or where it is not split.
        device_index: int or scalar tensor. Number of the device among all
            that run the layer at once; None if they draw their own seeds.

    Example:

    >>> local = LocalExperts({}, first_expert=2, num_experts=2)
    >>> local.choose(["a", "b", "c", "d"])
    ['c', 'd']
    """

    weights: Any
    first_expert: Any
    num_experts: int
    hidden_part: Any = 0
    device_index: Any = None

    def choose(self, experts):
        """Take these experts from a list of all of a layer."""
        return experts[self.first_expert :][: self.num_experts]

    def seed(self, seed):
        """Derive the seed `(2,)` of this device from that of the layer."""
        if self.device_index is None:
            return seed
        return tf.random.experimental.stateless_fold_in(seed, self.device_index)

    def only_once(self, tensor):
        """Keep a tensor on the first slice of the hidden dimension.

        For what is added after the sum over hidden units, such as the output
        bias: the devices of the other slices get zeros.
        """
        if isinstance(self.hidden_part, int) and self.hidden_part == 0:
            return tensor
        return tf.where(tf.equal(self.hidden_part, 0), tensor, 0)
