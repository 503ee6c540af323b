"""Experts choose tokens (arXiv:2202.09368).

N: tokens    E: experts    C: tokens of an expert    K: the most experts that
a token of this batch has    P: chosen pairs, E x C
"""

import keras
import tensorflow as tf

from moe_keras.gating.router import Router, count_tokens


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

    Replicas each let experts choose among their own tokens.

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
        ValueError: If `causal` is not False, or `capacity_factor` not above
            0.

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
        if capacity_factor <= 0:
            raise ValueError(
                "`capacity_factor` must be above 0. "
                f"Received: capacity_factor={capacity_factor}"
            )
        self.causal = causal
        self.capacity_factor = capacity_factor
        self.supports_jit = False  # K depends on the batch

    @property
    def k(self):
        """Mean number of experts per token, for a capacity in `SparseMoE`."""
        return self.capacity_factor

    def call(self, inputs, mask=None, training=False):
        logits_NE = self.logits(inputs, mask)
        score_NE = tf.nn.softmax(logits_NE)
        if mask is not None:
            score_NE = tf.where(mask[:, None], score_NE, -1.0)  # comes last
        score_EN = tf.transpose(score_NE)
        token_EC = tf.math.top_k(
            tf.stop_gradient(score_EN), self._capacity(logits_NE, mask)
        ).indices
        # Not the values of top_k, whose gradient fails where N is 0.
        gate_EC = tf.gather(score_EN, token_EC, batch_dims=1)
        pair_NK = pairs_by_token(
            gate_EC, token_EC, num_tokens=tf.shape(logits_NE)[0]
        )
        expert_EC = tf.broadcast_to(
            tf.range(self.num_experts)[:, None], tf.shape(token_EC)
        )
        # One more for the places without a pair.
        gate_P = tf.pad(tf.reshape(gate_EC, [-1]), [[0, 1]])
        expert_P = tf.pad(
            tf.reshape(expert_EC, [-1]), [[0, 1]], constant_values=-1
        )
        routing = self.routing(
            tf.gather(expert_P, pair_NK), tf.gather(gate_P, pair_NK)
        )
        has_one_N = routing.expert_index[:, 0] >= 0
        without = count_tokens(logits_NE, mask) - tf.math.count_nonzero(
            has_one_N, dtype=logits_NE.dtype
        )
        return routing._replace(figures={"tokens_without_expert": without})

    def _capacity(self, logits_NE, mask):
        tokens = tf.cast(count_tokens(logits_NE, mask), "float64")
        even = tf.math.ceil(self.capacity_factor * tokens / self.num_experts)
        return tf.cast(tf.minimum(even, tokens), "int32")

    def get_config(self):
        return {
            **super().get_config(),
            "causal": self.causal,
            "capacity_factor": self.capacity_factor,
        }


def pairs_by_token(gate, token, num_tokens):
    """Turns tokens chosen by experts into experts of tokens.

    Args:
        gate: Tensor `(E, C)`, the gate of each pair of expert and token.
        token: int32 tensor `(E, C)`, its token.
        num_tokens: int or scalar tensor. Number of tokens N.

    Returns:
        int32 tensor `(N, K)`: the pairs of each token, the largest gate
        first, numbered `expert * C + place`; E x C where it has no more.

    Example:

    >>> pairs = pairs_by_token([[0.2, 0.1], [0.8, 0.7]], [[2, 0], [2, 1]], 4)
    >>> pairs.numpy().tolist()
    [[1, 4], [3, 4], [2, 0], [4, 4]]
    """
    token_P = tf.reshape(token, [-1])
    count_N = tf.math.unsorted_segment_sum(
        tf.ones_like(token_P), token_P, num_tokens
    )
    end_N = tf.cumsum(count_N)
    # By gate, then by token: the second sort keeps the order of the first.
    order_P = tf.argsort(
        tf.reshape(gate, [-1]), direction="DESCENDING", stable=True
    )
    order_P = tf.gather(
        order_P, tf.argsort(tf.gather(token_P, order_P), stable=True)
    )
    place_K = tf.range(tf.maximum(tf.reduce_max(count_N), 1))
    num_pairs = tf.size(token_P)
    source_NK = tf.where(
        place_K < count_N[:, None],
        (end_N - count_N)[:, None] + place_K,
        num_pairs,
    )
    return tf.gather(tf.concat([order_P, num_pairs[None]], 0), source_NK)
