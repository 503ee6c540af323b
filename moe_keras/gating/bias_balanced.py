"""Balance by a bias and without a loss (arXiv:2408.15664, DeepSeek-V3).

N: tokens    E: experts    K: experts per token    G: groups of M experts
"""

import keras
import tensorflow as tf

from moe_keras.checks import (
    check_above_0,
    check_k,
    check_not_negative,
    check_sizes,
    is_whole,
)
from moe_keras.gating.router import Router
from moe_keras.placement.replicas import sum_over_replicas


@keras.saving.register_keras_serializable(package="moe_keras")
class BiasBalancedGate(Router):
    """Evens out the load by a bias that chooses experts but never weighs them.

    With scores `s = sigmoid(x W_gate)` and a bias b of each expert:

    1. The experts with the k largest `s + b` are chosen. Where sums are equal
       in floating point, as where sigmoids round to 1, the larger logit wins.
    2. Their gates are `gate_scale * s / (sum of the k chosen s)`, without b.
    3. After each training step `b += update_rate * sign(mean load - load)`:
       an expert with too many tokens is chosen less, one with too few more.
       Then the mean of b is subtracted, which changes no choice and keeps b
       from drifting away.

    *Groups.* With `num_groups=G` the experts are G groups of M neighbours, and
    a token takes its experts from the `groups_per_token` groups whose two
    largest `s + b` have the largest sum; of equal sums the first group. In
    DeepSeek-V3 (arXiv:2412.19437), with `BiasBalancedGate(256, k=8,
    num_groups=8, groups_per_token=4, gate_scale=2.5)`, each group is on
    devices of its own, and a token visits 4 of them at most.

    There is no loss, so none has to be weighed against the task. The bias is
    a weight without gradient, of the router's dtype: it is saved, restored
    and used at inference.

    *Steps.* A training call moves the bias for the next call. Every call with
    `training=True` counts; where a layer is used twice for a batch, give
    `update_every=2`: the loads are added up, and the bias moves once. With
    `update_every=None` it moves only when you call `update_bias()`. A frozen
    gate (`trainable=False`) counts nothing and moves nothing. Do not
    recompute the gate in the backward pass (`keras.RematScope`): it would
    count twice.

    *Accumulated gradients.* Where several batches make one update, the bias
    has to move once as well. `trainers.engine.train_step` sets the attribute
    `batches_per_update`, which is not in the config of the gate. In `fit` with
    `gradient_accumulation_steps=n`, set it to n or give `update_every=n`.

    *Replicas.* The loads of all replicas are added up; they keep equal biases.

    With k = 1 the gate is the score of the chosen expert; divided by its sum
    it would be 1, and the task would teach the router nothing.

    Args:
        num_experts: int. Number of experts E to choose from.
        k: int. Experts per token, from 1 to E.
        update_rate: float. How far the bias of an expert moves in a step;
            scores lie between 0 and 1.
        update_every: int. Number of training calls to one move of the bias,
            for each batch of an update; or None.
        num_groups: int. Number of groups G, a divisor of E; 1 for none.
        groups_per_token: int. Groups that a token takes its experts from, from
            1 to G; together they must have k experts.
        gate_scale: float. What the gates are multiplied by (DeepSeek's
            `routed_scaling_factor`).
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `use_bias` of
            the router, and arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Whether to move the bias.

    Returns:
        A `Routing` whose load counts tokens. The experts of a token are
        sorted by `s + b`, so its gates need not be; they sum to `gate_scale`
        (with k = 1 they are at most that).

    Raises:
        ValueError: If `k` is not between 1 and `num_experts`, `update_rate` is
            below 0, or `update_every` no int from 1 on; if `num_groups` does
            not divide the experts, or `groups_per_token` groups are too few;
            if `gate_scale` is not above 0. When called, if `inputs` or `mask`
            has another shape.

    Example:

    >>> gate = BiasBalancedGate(2, k=1, kernel_initializer="zeros")
    >>> _ = gate(keras.ops.ones((5, 3)), training=True)  # all to expert 0
    >>> [f"{b:.3f}" for b in gate.bias.numpy()]
    ['-0.001', '0.001']
    """

    config_name = "bias_balanced"
    balances_itself = True
    has_loss = False
    balance_knobs = ("update_rate",)

    def __init__(
        self,
        num_experts,
        k=4,
        update_rate=1e-3,
        update_every=1,
        num_groups=1,
        groups_per_token=1,
        gate_scale=1.0,
        **kwargs,
    ):
        super().__init__(num_experts, **kwargs)
        check_k("k", k, num_experts)
        check_not_negative(update_rate=update_rate)
        if update_every is not None and not (
            is_whole(update_every) and update_every >= 1
        ):
            raise ValueError(
                "`update_every` must be at least 1, and an int, or None where "
                "only `update_bias()` is to move the bias. "
                f"Received: update_every={update_every!r}"
            )
        _check_groups(num_experts, k, num_groups, groups_per_token)
        check_above_0("gate_scale", gate_scale)
        self.num_groups = num_groups
        self.groups_per_token = groups_per_token
        self.gate_scale = gate_scale
        self.k = k
        self.update_rate = update_rate
        self.update_every = update_every
        self.batches_per_update = 1  # whoever trains may set it

    def build(self, input_shape):
        super().build(input_shape)
        self.bias = self.add_state("bias", (self.num_experts,))
        # The load since the last move. It is saved, so that training resumed
        # within an accumulated step goes on as if it had never stopped.
        self.pending_load = self.add_state("pending_load", (self.num_experts,))
        self.pending_calls = self.add_state("pending_calls")

    def call(self, inputs, mask=None, training=False):
        mask = self.checked_mask(mask, inputs)
        logits_NE = self.logits(inputs, mask)
        expert_NK = self._choose(tf.stop_gradient(logits_NE), mask)
        chosen_NK = tf.gather(logits_NE, expert_NK, batch_dims=1)
        if self.k > 1:
            # This is s / sum(s), also where every s underflows to 0.
            gate_NK = tf.nn.softmax(tf.math.log_sigmoid(chosen_NK))
        else:
            gate_NK = tf.sigmoid(chosen_NK)
        routing = self.routing(expert_NK, self.gate_scale * gate_NK, mask)
        if training and self.trainable:
            self._count(routing.load)
        return routing

    def _choose(self, logits_NE, mask):
        """Chooses the experts with the k largest `s + b`, then logits."""
        biased_NE = self._of_best_groups(tf.sigmoid(logits_NE) + self.bias)
        most = min(self.k + 1, self.num_experts)
        top, expert = tf.math.top_k(biased_NE, most)
        is_tie_N = tf.reduce_any(top[:, 1:] == top[:, :-1], axis=1)
        if mask is not None:
            is_tie_N &= mask

        def choose_by_logit():
            # `top_k` takes the first of equals, so sort by logit before it.
            sorted_NE = tf.argsort(logits_NE, direction="DESCENDING")
            place_NK = tf.math.top_k(
                tf.gather(biased_NE, sorted_NE, batch_dims=1), self.k
            ).indices
            return tf.gather(sorted_NE, place_NK, batch_dims=1)

        return tf.cond(
            tf.reduce_any(is_tie_N),
            choose_by_logit,
            lambda: expert[:, : self.k],
        )

    def _of_best_groups(self, biased_NE):
        """Puts -inf in the place of experts of the groups not taken."""
        if self.groups_per_token == self.num_groups:
            return biased_NE
        each = self.num_experts // self.num_groups
        biased_NGM = tf.reshape(biased_NE, [-1, self.num_groups, each])
        best = tf.math.top_k(biased_NGM, min(2, each), sorted=False).values
        group = tf.math.top_k(
            tf.reduce_sum(best, axis=-1), self.groups_per_token
        ).indices
        is_taken_NG = tf.reduce_any(
            group[:, :, None] == tf.range(self.num_groups), axis=1
        )
        biased_NGM = tf.where(
            is_taken_NG[:, :, None],
            biased_NGM,
            tf.constant(-float("inf"), biased_NE.dtype),
        )
        return tf.reshape(biased_NGM, [-1, self.num_experts])

    def _count(self, load_E):
        load_E = self.pending_load + sum_over_replicas(load_E)
        calls = self.pending_calls + 1.0
        if self.update_every is None:
            is_due = False
        else:
            is_due = calls >= self.update_every * self.batches_per_update
        # No `tf.cond`: replicas cannot assign a common value within one.
        self.bias.assign(tf.where(is_due, self._moved_bias(load_E), self.bias))
        self.pending_load.assign(
            tf.where(is_due, tf.zeros_like(load_E), load_E)
        )
        self.pending_calls.assign(tf.where(is_due, tf.zeros_like(calls), calls))

    def _moved_bias(self, load_E):
        error_E = tf.reduce_mean(load_E) - load_E
        moved_E = self.bias + self.update_rate * tf.sign(error_E)
        return moved_E - tf.reduce_mean(moved_E)

    def update_bias(self):
        """Moves the bias by the load since its last move.

        Call it once after each step where `update_every` is None. It moves
        nothing while the gate is frozen.
        """
        if not self.trainable:
            return
        load_E = tf.convert_to_tensor(self.pending_load)
        self.bias.assign(self._moved_bias(load_E))
        self.pending_load.assign(tf.zeros_like(load_E))
        self.pending_calls.assign(0.0)

    def get_config(self):
        return {
            **super().get_config(),
            "k": self.k,
            "update_rate": self.update_rate,
            "update_every": self.update_every,
            "num_groups": self.num_groups,
            "groups_per_token": self.groups_per_token,
            "gate_scale": self.gate_scale,
        }


def _check_groups(num_experts, k, num_groups, groups_per_token):
    check_sizes(num_groups=num_groups, groups_per_token=groups_per_token)
    each, rest = divmod(num_experts, num_groups)
    if rest or not k / each <= groups_per_token <= num_groups:
        raise ValueError(
            "`num_groups` must divide `num_experts`, and `groups_per_token` "
            "must not exceed it and be so many that they have `k` experts. "
            f"Received: num_experts={num_experts}, k={k}, "
            f"num_groups={num_groups}, groups_per_token={groups_per_token}"
        )
