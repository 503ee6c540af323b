"""Strictly balanced gating (arXiv:1701.06538, appendix F).

N: tokens    D: depth    E: experts    K: experts of the token with most
"""

import math

import keras
import tensorflow as tf

from moe_keras.capacity import slots_of_expert
from moe_keras.checks import check_k, check_not_negative
from moe_keras.gating.router import Router, count_tokens
from moe_keras.placement.replicas import sum_over_replicas
from moe_keras.placement.shared_choice import choices_of_tokens, choose_tokens

# Thresholds are kept as log(T) / 10. As a logarithm, because scores fall with
# the number of experts, while an optimizer such as Adam takes steps of one size
# for all weights. Divided by 10, because a score is a sum over many weights: a
# threshold that moved only as fast as one of them would fall behind.
_PACE = 10.0


@keras.saving.register_keras_serializable(package="moe_keras")
class BatchwiseGate(Router):
    """While training, every expert takes equally many tokens of the batch.

    With `score = softmax(x W_gate)` over all experts, without noise:

    1. While training each expert takes the `m = k N / E` tokens of the batch
       whose score for it is highest. m is rounded up: all experts get equally
       many, also where E does not divide k N, and a token has k experts on
       average, or less than E / N more. Where replicas share a batch, the
       experts choose among the tokens of all replicas.
    2. Outside of training there may be no batch. Expert i then takes every
       token with `score_i > T_i`, where T_i is its own threshold.
    3. The thresholds are learnt. Where the two masks differ, the loss

       `L = sum over tokens j, experts i of
            (above_ji - taken_ji) * (score_ji - T_i)`

       grows with the distance to the threshold, and is 0 where they agree.
       Its gradient moves T_i up if more than m tokens pass, down if fewer,
       and draws scores to their side of the threshold.
    4. The gates of a token are its scores for the experts that take it,
       divided by their sum.

    Training is balanced without a loss (`balances_itself`), inference is as
    balanced as the thresholds are good. What follows for a token:

    - It may have any number of experts. A token that no expert takes, or that
      is below all thresholds, gets no expert and no gate: `SparseMoE` returns
      zeros, and a residual connection around it passes the token on. A token
      above all thresholds goes to all experts.
    - While training, its experts depend on the other tokens of the batch. All
      sentences and all time steps are one batch (section 3.1), so in a
      decoder or a language model later words influence earlier ones. The
      paper accepts this. At inference only the token itself decides, and
      decoding step by step gives what the whole sequence gives.
    - Masked tokens are taken by no expert and count nowhere, N included.

    `metrics` has `experts_per_token`, which shows at inference whether the
    thresholds have settled (near k) and what a token costs, and
    `tokens_without_expert`; both are sums over the tokens. `SparseMoE` counts
    the former as `routing_statistics().mean_k`.

    With k = 1 a token with one expert would always have the gate 1, and the
    task would teach the gate nothing. The scores are then not divided, as in
    `NoisyTopKGate`.

    *Weight decay* draws the thresholds towards 1, where no token passes.
    `moe_keras.FactoredAdam` leaves them alone; any other optimizer with
    `weight_decay` has to be told so before it is built:

        optimizer = keras.optimizers.AdamW(weight_decay=0.1)
        optimizer.exclude_from_weight_decay(var_names=["log_threshold"])

    `moe_keras.monitoring.RoutingMonitor` says so where it was forgotten.

    Args:
        num_experts: int. Number of experts E to choose from.
        k: int. Mean number of experts per token, from 1 to E.
        threshold_loss_weight: float. Weight of L, which is divided by N to
            mean the same for every size of batch.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `use_bias` of
            the router, and arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Whether the batch decides, or the thresholds.

    Returns:
        A `Routing`, in which K is the number of experts of the token that has
        most, at least 1; it differs from batch to batch. While training,
        `loss` is that of the thresholds.

    Raises:
        ValueError: If `k` is not between 1 and `num_experts`, or
            `threshold_loss_weight` is below zero. When called, if `inputs` or
            `mask` has another shape.

    Example:

    >>> gate = BatchwiseGate(num_experts=4, k=2)
    >>> routing = gate(keras.random.normal((6, 3)), training=True)
    >>> routing.load.numpy().tolist()  # 2 * 6 / 4 tokens each
    [3.0, 3.0, 3.0, 3.0]
    """

    config_name = "batchwise"
    no_decay = ("log_threshold",)
    balances_itself = True
    balance_knobs = ("threshold_loss_weight",)
    metric_names = ("tokens_without_expert",)

    def __init__(self, num_experts, k=4, threshold_loss_weight=0.1, **kwargs):
        super().__init__(num_experts, **kwargs)
        check_k("k", k, num_experts)
        check_not_negative(threshold_loss_weight=threshold_loss_weight)
        self.k = k
        self.threshold_loss_weight = threshold_loss_weight
        self.supports_jit = False  # K depends on the batch

    @property
    def thresholds(self):
        """T, a tensor `(E,)`: the scores that tokens have to exceed."""
        return tf.exp(_PACE * self.log_threshold)

    def build(self, input_shape):
        super().build(input_shape)
        # 1 / (k + 1) at first: at most k scores of a token can be above it.
        start = -math.log(self.k + 1) / _PACE
        self.log_threshold = self.add_kernel(
            "log_threshold",
            (self.num_experts,),
            keras.initializers.Constant(start),
        )

    def call(self, inputs, mask=None, training=False):
        mask = self.checked_mask(mask, inputs)
        if mask is None:
            mask = tf.ones(tf.shape(inputs)[:1], "bool")
        # In training each expert takes its m best tokens of the batch; later
        # a token goes where its score is above the expert's threshold.
        # Logarithms keep scores apart that would underflow.
        score_NE = tf.nn.log_softmax(self.logits(inputs, mask))
        above_NE = mask[:, None] & (score_NE > _PACE * self.log_threshold)
        taken_NE, loss = above_NE, tf.zeros((), score_NE.dtype)
        if training:
            num_tokens = sum_over_replicas(
                tf.math.count_nonzero(mask, dtype="int32")
            )
            m = slots_of_expert(num_tokens, self.k, self.num_experts)
            taken_NE = choose_tokens(score_NE, m, mask)
            loss = self._threshold_loss(
                score_NE, above_NE, taken_NE, num_tokens
            )
        expert_NK, top_NK = choices_of_tokens(score_NE, taken_NE)
        gate_NK = tf.nn.softmax(top_NK) if self.k > 1 else tf.exp(top_NK)
        routing = self.routing(
            expert_NK, tf.where(expert_NK >= 0, gate_NK, 0.0)
        )
        has_one_N = routing.expert_index[:, 0] >= 0
        return routing._replace(
            loss=loss,
            metrics={
                "experts_per_token": tf.reduce_sum(routing.load),
                "tokens_without_expert": count_tokens(
                    score_NE, mask & ~has_one_N
                ),
            },
        )

    def _threshold_loss(self, score_NE, above_NE, taken_NE, num_tokens):
        dtype = score_NE.dtype
        differ_NE = tf.cast(above_NE, dtype) - tf.cast(taken_NE, dtype)
        distance_NE = tf.exp(score_NE) - self.thresholds
        total = sum_over_replicas(tf.reduce_sum(differ_NE * distance_NE))
        loss = total / tf.cast(tf.maximum(num_tokens, 1), dtype)
        return self.threshold_loss_weight * loss

    def get_config(self):
        return {
            **super().get_config(),
            "k": self.k,
            "threshold_loss_weight": self.threshold_loss_weight,
        }

    @classmethod
    def cost(cls, sizes):
        cost = super().cost(sizes)
        thresholds = {"log_threshold": (sizes.num_experts,)}
        return cost._replace(weights=cost.weights | thresholds)
