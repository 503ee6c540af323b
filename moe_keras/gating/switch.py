"""Switch routing: one expert per token (arXiv:2101.03961).

N: tokens    E: experts
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_fraction, check_not_negative
from moe_keras.gating.router import (
    Router,
    probability_of,
    router_loss,
)


@keras.saving.register_keras_serializable(package="moe_keras")
class SwitchGate(Router):
    """Sends each token to its most probable expert.

    With `p = softmax(x W_gate)` over all experts, the chosen one is `i =
    argmax p` and its gate is `p_i`. Other gates divide their gates by their
    sum; here that would always be 1, and no gradient of the task would reach
    the router.

    The losses are `balance_loss_weight * E * sum_e f_e P_e`, where f_e is the
    fraction of tokens that chose expert e and P_e the mean of p_e
    (`losses.balance_loss`; 1 at perfect balance), and `z_loss_weight *
    mean(logsumexp(x W_gate)^2)` (`losses.z_loss`, ST-MoE, arXiv:2202.08906).
    Both are computed over the whole batch, also where replicas share it, and
    only while training. `SparseMoE` adds them, and no loss of its own unless
    you ask for it. By default it drops no token; its `capacity_factor` gives
    the capacity of Switch Transformer.

    Args:
        num_experts: int. Number of experts E to choose from.
        jitter: float. While training each input of the router is multiplied
            by a random number from `1 - jitter` to `1 + jitter`. Below 1.
        balance_loss_weight: float. Weight of the balance loss.
        z_loss_weight: float. Weight of the z-loss.
        seed: int. Seed of the jitter; see `NoisyTopKGate` for what equal
            seeds promise.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `use_bias` of
            the router, and arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Whether to jitter, and to compute losses.

    Returns:
        A `Routing` of one expert per token; its load counts tokens.

    Raises:
        ValueError: If an argument is out of its range. When called, if `inputs`
            or `mask` has another shape.

    Example:

    >>> gate = SwitchGate(num_experts=4, kernel_initializer="zeros")
    >>> float(gate(keras.ops.ones((1, 3))).gate[0, 0])  # all are alike
    0.25
    """

    config_name = "switch"
    balances_itself = True
    balance_knobs = ("balance_loss_weight",)
    k = 1

    def __init__(
        self,
        num_experts,
        jitter=1e-2,
        balance_loss_weight=1e-2,
        z_loss_weight=1e-3,
        seed=None,
        **kwargs,
    ):
        super().__init__(num_experts, **kwargs)
        check_fraction(jitter=jitter)
        check_not_negative(
            balance_loss_weight=balance_loss_weight,
            z_loss_weight=z_loss_weight,
        )
        self.jitter = jitter
        self.balance_loss_weight = balance_loss_weight
        self.z_loss_weight = z_loss_weight
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, mask=None, training=False):
        mask = self.checked_mask(mask, inputs)
        logits_NE = self.logits(
            inputs, mask, self.jitter if training else 0.0, self.seed_generator
        )
        top_N1, expert_N1 = tf.math.top_k(logits_NE, 1)
        gate_N1 = probability_of(top_N1, logits_NE)
        routing = self.routing(expert_N1, gate_N1, mask)
        if not training:
            return routing
        return routing._replace(
            loss=router_loss(
                logits_NE,
                routing.load,
                mask,
                self.balance_loss_weight,
                self.z_loss_weight,
            )
        )

    def get_config(self):
        return {
            **super().get_config(),
            "jitter": self.jitter,
            "balance_loss_weight": self.balance_loss_weight,
            "z_loss_weight": self.z_loss_weight,
            "seed": self.seed,
        }

    @classmethod
    def arguments_for(cls, sizes):
        return {"num_experts": sizes.num_experts}
