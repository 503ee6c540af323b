"""More experts for hard tokens: top-p gating (arXiv:2403.07652).

N: tokens    E: experts    K: the most experts of a token
"""

import math

import keras
import tensorflow as tf

from moe_keras.checks import check_k, check_not_negative, is_number
from moe_keras.gating.router import (
    Router,
    count_tokens,
    probability_of,
    router_loss,
)
from moe_keras.placement.replicas import sum_over_replicas

# The mass stays between 0.00005 and 0.99995. Beyond, float32 tells no tokens
# apart, and the logit would take long to come back.
_LARGEST_LOGIT = 10.0


@keras.saving.register_keras_serializable(package="moe_keras")
class ThresholdGate(Router):
    """Takes experts until their probability reaches a mass, at most `k_max`.

    With `p = softmax(x W_gate)` over all experts, a token takes its most
    probable expert, and then the next ones as long as the p of its experts
    sum to less than `mass`. Where the router is sure, one expert is enough;
    where it is in doubt, it takes several.

        mass 0.6:   p = .70 .20 .10        one expert
                    p = .40 .35 .25        two, .40 + .35
                    p = .28 .26 .24 .22    three, if k_max allows

    The gates are the probabilities themselves. Divided by their sum, the gate
    of a token with one expert would be 1 whatever p is, and easy tokens would
    teach the router nothing.

    *The mean number of experts* is what a token costs, and a fixed mass does
    not fix it: a router that grows surer takes fewer. With a `target` each
    training call moves the mass, by `target_rate * (target - experts per
    token)` in its logit `log(mass / (1 - mass))`, which keeps it between 0
    and 1 (DTop-p, arXiv:2512.13996, controls it likewise). The logit is a
    weight without gradient: it is saved, the same on all replicas (they count
    together), and does not move at inference or while the gate is frozen
    (`trainable=False`). The router cannot gain experts by doubting
    everything, so it needs no loss against that. Accumulated gradients change
    only how often the mass moves.

    The experts are kept in balance by `losses.balance_loss` and `losses.
    z_loss` of p, as in `TopKGate`; f counts every expert taken.

    Args:
        num_experts: int. Number of experts E to choose from.
        k_max: int. The most experts of a token, from 1 to E. Places that a
            token leaves empty cost next to nothing, but `SparseMoE` with a
            `capacity_factor` keeps slots for `k_max` experts per token.
        mass: float above 0 and below 1. The mass at the beginning.
        target: float. Mean number of experts per token to keep to, from 1 to
            `k_max`; None leaves the mass as it is.
        target_rate: float. How fast the mass follows the target.
        balance_loss_weight: float. Weight of the balance loss.
        z_loss_weight: float. Weight of the z-loss.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `use_bias` of
            the router, and arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Whether to move the mass, and to compute losses.

    Returns:
        A `Routing` of `(N, k_max)` with -1 in the places that a token leaves
        empty. Gates are sorted, and the load counts tokens. Its metrics, sums
        over tokens, are `experts_per_token` and `mass`.

    Raises:
        ValueError: If an argument is out of its range. When called, if `inputs`
            or `mask` has another shape.

    Example:

    >>> gate = ThresholdGate(num_experts=4, k_max=3, mass=0.6)
    >>> gate.build((None, 2))
    >>> _ = gate.gate_kernel.assign(  # for two tokens with these p
    ...     tf.math.log([[0.70, 0.20, 0.06, 0.04], [0.28, 0.26, 0.24, 0.22]])
    ... )
    >>> gate(keras.ops.eye(2)).expert_index.numpy().tolist()
    [[0, -1, -1], [0, 1, 2]]
    """

    config_name = "threshold"
    balances_itself = True
    balance_knobs = ("balance_loss_weight",)
    metric_names = ("mass",)  # experts per token are in every window

    def __init__(
        self,
        num_experts,
        k_max=4,
        mass=0.5,
        target=2.0,
        target_rate=1e-2,
        balance_loss_weight=1e-2,
        z_loss_weight=0.0,
        **kwargs,
    ):
        super().__init__(num_experts, **kwargs)
        check_k("k_max", k_max, num_experts)
        if not (is_number(mass) and 0 < mass < 1):
            raise ValueError(
                f"`mass` must be above 0 and below 1. Received: mass={mass!r}"
            )
        if target is not None and not (
            is_number(target) and 1 <= target <= k_max
        ):
            raise ValueError(
                "`target` must be between 1 and `k_max`, or None for a fixed "
                f"mass. Received: target={target!r}, k_max={k_max}"
            )
        check_not_negative(
            target_rate=target_rate,
            balance_loss_weight=balance_loss_weight,
            z_loss_weight=z_loss_weight,
        )
        self.k_max = k_max
        self.initial_mass = mass
        self.target = target
        self.target_rate = target_rate
        self.balance_loss_weight = balance_loss_weight
        self.z_loss_weight = z_loss_weight

    def build(self, input_shape):
        super().build(input_shape)
        logit = math.log(self.initial_mass / (1 - self.initial_mass))
        self.mass_logit = self.add_state(
            "mass_logit", initializer=keras.initializers.Constant(logit)
        )

    @property
    def mass(self):
        """The current mass, a scalar tensor."""
        return tf.sigmoid(tf.convert_to_tensor(self.mass_logit))

    def call(self, inputs, mask=None, training=False):
        mask = self.checked_mask(mask, inputs)
        logits_NE = self.logits(inputs, mask)
        top_NK, expert_NK = tf.math.top_k(logits_NE, self.k_max)
        probability_NK = probability_of(top_NK, logits_NE)
        before_NK = tf.cumsum(probability_NK, axis=1, exclusive=True)
        mass = self.mass
        taken_NK = before_NK < mass  # the first always: 0 < mass
        routing = self.routing(
            tf.where(taken_NK, expert_NK, -1),
            tf.where(taken_NK, probability_NK, 0.0),
            mask,
        )
        experts = tf.reduce_sum(routing.load)
        tokens = count_tokens(logits_NE, mask)
        metrics = {"experts_per_token": experts, "mass": mass * tokens}
        routing = routing._replace(metrics=metrics)
        if not training:
            return routing
        if self.target is not None and self.trainable:
            self._follow_target(experts, tokens)
        return routing._replace(
            loss=router_loss(
                logits_NE,
                routing.load,
                mask,
                self.balance_loss_weight,
                self.z_loss_weight,
            )
        )

    def _follow_target(self, experts, tokens):
        totals = sum_over_replicas(tf.stack([experts, tokens]))
        experts, tokens = tf.unstack(totals)
        missing = tf.math.divide_no_nan(self.target * tokens - experts, tokens)
        self.mass_logit.assign(
            tf.clip_by_value(
                self.mass_logit + self.target_rate * missing,
                -_LARGEST_LOGIT,
                _LARGEST_LOGIT,
            )
        )

    def get_config(self):
        return {
            **super().get_config(),
            "k_max": self.k_max,
            "mass": self.initial_mass,
            "target": self.target,
            "target_rate": self.target_rate,
            "balance_loss_weight": self.balance_loss_weight,
            "z_loss_weight": self.z_loss_weight,
        }

    @classmethod
    def arguments_for(cls, sizes):
        """Takes k for the mean, and allows a token twice as many."""
        return {
            "num_experts": sizes.num_experts,
            "k_max": min(2 * sizes.k, sizes.num_experts),
            "target": float(sizes.k),
        }
