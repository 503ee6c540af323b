"""Experts choose tokens (arXiv:2202.09368).

N: tokens    E: experts    C: tokens of an expert    K: the most experts that
a token of this batch has
"""

import keras
import tensorflow as tf

from moe_keras.capacity import slots_of_expert
from moe_keras.checks import check_above_0
from moe_keras.gating.router import Router, count_tokens
from moe_keras.placement.replicas import sum_over_replicas
from moe_keras.placement.shared_choice import choices_of_tokens, choose_tokens


@keras.saving.register_keras_serializable(package="moe_keras")
class ExpertChoiceGate(Router):
    """Lets each expert choose the tokens that it suits best.

    With `p = softmax(x W_gate)` over experts, each expert takes the `C =
    capacity_factor * N / E` tokens (rounded up) of the batch with its highest
    p, and p is their gate. Every expert has the same load, without a loss and
    without a dropped choice. A token has several experts, one, or none, on
    average `capacity_factor`. A token without an expert comes out as zeros:
    put the layer into a residual block.

    *The choice looks at the whole batch.* Whether a token gets an expert
    depends on the tokens that it competes with, also on those of later time
    steps. A decoder that is trained with it learns from words that it is to
    predict, and at inference, word by word, it has none to compare. So you
    have to say `causal=False`, which is true of encoders and of everything
    else that sees its sequence at once.

    *Inference is the same:* each expert takes its best tokens of the batch,
    so an output depends on the batch and on its size. A token alone gets every
    expert, with its p as gate. Masked tokens neither compete nor count for C,
    so padding changes nothing.

    Where replicas share a batch, experts choose among the tokens of all of
    them, at inference as well: the replicas then have to call it together.

    Args:
        num_experts: int. Number of experts E.
        causal: bool. Whether outputs may depend on nothing later in the
            sequence. Must be False.
        capacity_factor: float. Mean number of experts per token. `SparseMoE`
            needs none beside it.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `use_bias` of
            the router, and arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. It makes no difference.

    Returns:
        A `Routing` of `(N, K)`, where K is the number of experts of the token
        of this batch that has most, at least 1. -1 stands in the places that
        a token leaves empty. Gates are sorted. Its figure is
        `tokens_without_expert`, without masked tokens.

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
    has_loss = False
    balance_knobs = ()  # even by construction
    metric_names = ("tokens_without_expert",)

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
        # Logarithms keep scores apart that would underflow.
        score_NE = tf.nn.log_softmax(self.logits(inputs, mask))
        tokens = count_tokens(score_NE, mask)
        taken_NE = choose_tokens(score_NE, self._capacity(tokens), mask)
        expert_NK, top_NK = choices_of_tokens(score_NE, taken_NE)
        routing = self.routing(
            expert_NK, tf.where(expert_NK >= 0, tf.exp(top_NK), 0.0)
        )
        has_one_N = routing.expert_index[:, 0] >= 0
        without = tokens - count_tokens(score_NE, has_one_N)
        return routing._replace(metrics={"tokens_without_expert": without})

    def _capacity(self, tokens):
        """Returns C of the whole batch, from this replica's tokens."""
        return slots_of_expert(
            sum_over_replicas(tf.cast(tokens, "int32")),
            k=1,
            num_experts=self.num_experts,
            factor=self.capacity_factor,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "causal": self.causal,
            "capacity_factor": self.capacity_factor,
        }
