"""The bytes of a model's weights: experts, and all the rest."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from moe_keras.experts.expert_list import ExpertList
from moe_keras.experts.stacked import StackedExperts


class Sizes(NamedTuple):
    """Bytes of the weights of a model.

    Attributes:
        experts: int. Of experts, shared ones included.
        others: int. Of all other layers.
    """

    experts: int
    others: int

    @property
    def total(self):
        return self.experts + self.others


def sizes_of(model: keras.Layer) -> Sizes:
    """Counts the bytes of the weights of a model.

    Args:
        model: A built Keras layer or model.

    Returns:
        `Sizes`.

    Example:

    >>> from moe_keras import SparseMoE
    >>> layer = SparseMoE(num_experts=4, k=2, hidden_dim=8)
    >>> layer.build((None, 3))
    >>> sizes_of(layer)  # 4 * (3 * 8 + 8 + 8 * 3 + 3); two kernels (3, 4)
    Sizes(experts=944, others=96)
    """
    of_experts = {
        id(weight): weight
        for layer in model._flatten_layers()
        if isinstance(layer, StackedExperts | ExpertList)
        for weight in layer.weights
    }
    others = [w for w in model.weights if id(w) not in of_experts]
    return Sizes(_bytes(of_experts.values()), _bytes(others))


def _bytes(weights):
    return sum(
        int(np.prod(weight.shape)) * tf.as_dtype(weight.dtype).size
        for weight in weights
    )
