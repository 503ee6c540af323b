"""Experts choose tokens (arXiv:2202.09368).

N: tokens    E: experts    C: tokens of an expert    K: the most experts that
a token of this batch has
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_above_0
from moe_keras.gating.router import Router, count_tokens
from moe_keras.placement.replicas import sum_over_replicas
from moe_keras.placement.shared_choice import best_tokens, choices_of_tokens


@keras.saving.register_keras_serializable(package="moe_keras")
class ExpertChoiceGate(Router):
    """Lets each expert choose the tokens that it suits best.

    With `p = softmax(x W_gate)` over experts, each expert takes the `C =
    capacity_factor * N / E` tokens (rounded up) of the batch with its highest
    p, and p is their gate. Every expert has the same load, without a loss and
    without a dropped choice; a token has several experts, one, or none, on
    average `capacity_factor`. One that no expert took comes out as zeros: put
    the layer into a residual block.

    *The choice looks at the whole batch.* Whether a token gets an expert
    depends on the tokens that it competes with, those of later time steps
    among them. A decoder that is trained with it sees, in a way, words that
    it is to predict, and at inference, word by word, has none to compare. So
    the gate asks: it takes `causal=False` only. For encoders, and whatever
    else sees its sequence at once, that is the truth.

    *Inference is the same:* each expert takes its best of the batch, so an
    output depends on what else is in the batch, and on its size. A token
    alone gets every expert, with its p as gate. Masked tokens neither compete
    nor count for C, so padding changes nothing.

    Where replicas share a batch, experts choose among the tokens of all of
    them, at inference as well: the replicas then have to call it together.

    Args:
        num_experts: int. Number of experts E.
        causal: bool. Whether outputs may depend on nothing later in the
            sequence. Must be False.
        capacity_factor: float. Mean number of experts per token. `SparseMoE`
            needs none beside it.
        **kwargs: `kernel_initializer` of the router, and those of a layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Makes no difference.

    Returns:
        A `Routing` of `(N, K)`, K being the number of experts of the token
        that has most of them in this batch, at least 1; -1 in the places that
        a token leaves empty. Gates are sorted. Its figure is
        `tokens_without_expert`, masked ones not among them.

    Raises:
        ValueError: If `causal` is not False, or `capacity_factor` not above 0.
            When called, if `inputs` or `mask` has another shape.

    Example:

    >>> gate = ExpertChoiceGate(num_experts=4, causal=False)
    >>> routing = gate(keras.random.normal((6, 3)))
    >>> [int(load) for load in routing.load]  # 2 * 6 / 4
    [3, 3, 3, 3]
    """

    balances_itself = True
    balance_knobs = ()  # even by construction
    figure_names = ("tokens_without_expert",)

    def __init__(self, num_experts, causal, capacity_factor=2.0, **kwargs):
        super().__init__(num_experts, **kwargs)
        if causal is not False:
            raise ValueError(
                "`causal` must be False: experts choose among all tokens of a "
                "batch, and a token's output would depend on later ones. For "
                "a decoder take a gate by which tokens choose, such as "
                "NoisyTopKGate, or BiasBalancedGate for balance without a "
                f"loss. Received: causal={causal}"
            )
        check_above_0("capacity_factor", capacity_factor)
        self.causal = causal
        self.capacity_factor = capacity_factor
        self.supports_jit = False  # K depends on the batch

    @property
    def k(self):
        """Mean number of experts per token, for a capacity in `SparseMoE`."""
        return self.capacity_factor

    def call(self, inputs, mask=None, training=False):
        mask = self.checked_mask(mask, inputs)
        # Logarithms: a score that underflows is still above another.
        score_NE = tf.nn.log_softmax(self.logits(inputs, mask))
        tokens = count_tokens(score_NE, mask)
        taken_NE = best_tokens(score_NE, self._capacity(tokens), mask)
        expert_NK, top_NK = choices_of_tokens(score_NE, taken_NE)
        routing = self.routing(
            expert_NK, tf.where(expert_NK >= 0, tf.exp(top_NK), 0.0)
        )
        has_one_N = routing.expert_index[:, 0] >= 0
        without = tokens - count_tokens(score_NE, has_one_N)
        return routing._replace(figures={"tokens_without_expert": without})

    def _capacity(self, tokens):
        """C of the whole batch, of which this replica has so many tokens."""
        tokens = tf.cast(sum_over_replicas(tokens), "float64")
        even = tf.math.ceil(self.capacity_factor * tokens / self.num_experts)
        return tf.cast(tf.minimum(even, tokens), "int32")

    def get_config(self):
        return {
            **super().get_config(),
            "causal": self.causal,
            "capacity_factor": self.capacity_factor,
        }
