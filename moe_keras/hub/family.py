"""A family of keras-hub's models: the contract, and what families share.

N: tokens, batch and time flattened    D: depth    H: hidden size
E: experts    K: experts per token    B: batch    T: time
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
from keras import ops

from moe_keras.hub.low_rank_weight import LowRankWeight
from moe_keras.packed.weight import PackedWeight


class Family(NamedTuple):
    """A family of models whose blocks `sparsify` can make sparse.

    Attributes:
        name: str. The name of the family, for errors and tables.
        layer: str. Module and class of the layer whose `call` computes every
            expert. Exactly this class: a subclass may compute something else.
        call: Function `(layer, experts, *args, **kwargs)`, which takes after
            the layer and a `ChosenExperts` what the replaced `call` takes,
            and returns the same. It reads the layer's weights, adds the
            layer's loss and leaves the work of the experts to `experts`.
        bank: Function from the layer to the one that holds the kernels.
        kernels: Names of the kernels there, of `ExpertBank.kernels_in` and
            `kernel_out`, in this order.
        routers: Function from the layer to a tuple of the layers that weigh
            experts, which are never quantized.
        replaces: Function from the layer to the one whose `call` is replaced,
            or to None for a layer without experts; by default the layer.

    To add a family, write its `call` in a file of its own beside this one and
    list it in `moe_keras.hub.sparsify.FAMILIES`.

    Example:

    >>> family = Family(
    ...     "Mine", "my_models.moe.MyBlock", call=print, bank=lambda x: x.bank,
    ...     kernels=("w_in", "w_out"), routers=lambda x: (x.router,))
    >>> family.describes(family)
    False
    """

    name: str
    layer: str
    call: Callable
    bank: Callable
    kernels: tuple
    routers: Callable
    replaces: Callable = lambda layer: layer

    def describes(self, layer):
        """Whether the layer is of exactly the class that is described."""
        return _full_name(type(layer)) == self.layer

    def is_base_of(self, layer):
        """Whether the layer's class is, or is derived from, this one."""
        return self.layer in map(_full_name, type(layer).__mro__)


class Choice(NamedTuple):
    """The experts of each token.

    Attributes:
        expert: int32 `(N, K)`.
        gate: `(N, K)`, the weight of each.

    Example:

    >>> Choice(expert=[[2, 0]], gate=[[0.75, 0.25]]).expert
    [[2, 0]]
    """

    expert: Any
    gate: Any


class ExpertBank(NamedTuple):
    """The weights of all experts of a layer, and what lies between them.

    Attributes:
        kernels_in: Tuple of tensors `(E, D, H)`, one or several.
        kernel_out: Tensor `(E, H', D)`.
        join: Function from the products with all of `kernels_in`, side by
            side, to the hidden layer `(C, H')`.
        biases: `()`, or the biases `(E, H)` and `(E, D)` of one kernel in and
            the kernel out.

    Example:

    >>> bank = ExpertBank((tf.ones((3, 2, 5)),), tf.ones((3, 5, 2)), tf.nn.relu)
    >>> bank.num_experts
    3
    """

    kernels_in: tuple
    kernel_out: Any
    join: Callable
    biases: tuple = ()

    @property
    def num_experts(self):
        return self.kernel_out.shape[0]


def top_k_of_softmax(logits, k, normalize):
    """The k most probable experts of each token (arXiv:2401.04088).

    Args:
        logits: Tensor `(N, E)`.
        k: int.
        normalize: bool. Whether the k probabilities are made to add up to 1.

    Returns:
        A `Choice`.

    Example:

    >>> choice = top_k_of_softmax([[0.0, 1.0, 1.0]], k=2, normalize=True)
    >>> choice.expert.numpy().tolist(), choice.gate.numpy().tolist()
    ([[1, 2]], [[0.5, 0.5]])
    """
    gate_NK, expert_NK = tf.math.top_k(tf.nn.softmax(logits), k)
    if normalize:
        gate_NK /= tf.reduce_sum(gate_NK, axis=-1, keepdims=True)
    return Choice(expert_NK, gate_NK)


def top_k_of_weights(weights, k):
    """The k largest of the weights that a router gives to all experts.

    Args:
        weights: Tensor `(N, E)` with at most k entries that are not 0.
        k: int.

    Returns:
        A `Choice`.

    Example:

    >>> choice = top_k_of_weights([[0.25, 0.0, 0.75]], k=2)
    >>> choice.expert.numpy().tolist(), choice.gate.numpy().tolist()
    ([[2, 0]], [[0.75, 0.25]])
    """
    gate_NK, expert_NK = tf.math.top_k(weights, k)
    return Choice(expert_NK, gate_NK)


def in_float32(activation, hidden):
    """The activation, computed in float32 whatever the dtype.

    Example:

    >>> in_float32(tf.nn.silu, tf.constant([0.0], tf.bfloat16)).dtype
    tf.bfloat16
    """
    return tf.cast(activation(tf.cast(hidden, tf.float32)), hidden.dtype)


def read(layer, *names):
    """The layer's weights as tensors of the dtype in which it computes.

    Those of few bits come as `PackedKernels`, those with low-rank pairs as
    `LowRankKernels`.

    Example:

    >>> import keras
    >>> dense = keras.layers.Dense(1, dtype="mixed_bfloat16")
    >>> dense.build((None, 2))
    >>> read(dense, "kernel")[0].dtype
    tf.bfloat16
    """
    return tuple(
        weight.tensors(layer.compute_dtype)
        if isinstance(weight, PackedWeight | LowRankWeight)
        else ops.cast(weight, layer.compute_dtype)
        for weight in (getattr(layer, name) for name in names)
    )


def is_training(layer):
    """Whether `layer`, which is being called, is called to train.

    For layers whose `call` has no argument to say so.
    """
    return bool(layer._get_call_context().get_value("training", False))


def add_balance_loss(block, logits, k, mask, weight):
    """Adds the loss that keras-hub's block adds, by its own function.

    In float32, whatever the dtype of the model: with a mask that function
    multiplies the probabilities by numbers in float32.

    Args:
        block: The layer that adds it.
        logits: Tensor `(N, E)`.
        k: int. Experts per token.
        mask: Mask as that function takes it, or None.
        weight: float.
    """
    loss = sys.modules[type(block).__module__].compute_load_balancing_loss(
        router_logits=tf.cast(logits, tf.float32),
        num_experts=block.num_experts,
        top_k=k,
        attention_mask=mask,
    )
    block.add_loss(weight * loss)


def _full_name(kind):
    return f"{kind.__module__}.{kind.__qualname__}"
