"""Top-k gating without noise, as in GShard, GLaM and Mixtral.

N: tokens    E: experts    K: experts per token
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_fraction, check_k, check_not_negative
from moe_keras.gating.router import (
    Router,
    probability_of,
    router_loss,
)


@keras.saving.register_keras_serializable(package="moe_keras")
class TopKGate(Router):
    """Chooses the `k` experts with the largest logits.

    With `logits = x W_gate`, the gates are a softmax taken

    - `softmax="after"` the choice, over the k chosen logits alone: the gates
      sum to 1. This is Mixtral's (arXiv:2401.04088). A softmax over all
      experts whose k chosen probabilities are divided by their sum gives the
      same, as in GShard (arXiv:2006.16668) and GLaM (arXiv:2112.06905).
      GShard leaves out weak second experts at random; this gate never does.
    - `softmax="before"` the choice, over all E logits: the gates are
      probabilities and sum to less than 1. A router that is unsure weakens
      all its experts (OLMoE, arXiv:2409.02060).

    Only its loss keeps the experts in balance: `balance_loss_weight * E *
    sum_e f_e P_e`, where f_e is the fraction of choices that fell on expert e
    and P_e its mean probability (`losses.balance_loss`). A z-loss
    (`losses.z_loss`) keeps the logits small. Both are computed over the whole
    batch, also where replicas share it, and only while training. `SparseMoE`
    adds them, and no loss of its own unless you ask for it.

    Args:
        num_experts: int. Number of experts E to choose from.
        k: int. Experts per token, from 1 to E. With 1 a softmax after the
            choice is always 1 and teaches the gate nothing: take
            `softmax="before"`, or `SwitchGate`.
        softmax: "after" or "before" the choice.
        jitter: float. While training each input of the router is multiplied
            by a random number from `1 - jitter` to `1 + jitter`. Below 1.
        balance_loss_weight: float. Weight of the balance loss.
        z_loss_weight: float. Weight of the z-loss; ST-MoE takes 1e-3.
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
        A `Routing`. The gates of a token are positive and sorted; the load
        counts tokens.

    Raises:
        ValueError: If `k` is not between 1 and `num_experts`, or is 1 with a
            softmax after the choice; if `softmax` is neither "after" nor
            "before"; if `jitter` is not from 0 to below 1, or a weight below 0.
            When called, if `inputs` or `mask` has another shape.

    Example:

    >>> gate = TopKGate(num_experts=8, k=2)
    >>> routing = gate(keras.ops.ones((5, 3)))
    >>> print(f"{sum(routing.gate[0]):.3f}")
    1.000
    """

    config_name = "top_k"
    balances_itself = True
    balance_knobs = ("balance_loss_weight",)

    def __init__(
        self,
        num_experts,
        k=2,
        softmax="after",
        jitter=0.0,
        balance_loss_weight=1e-2,
        z_loss_weight=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(num_experts, **kwargs)
        check_k("k", k, num_experts)
        if softmax not in ("after", "before"):
            raise ValueError(
                "`softmax` must be 'after' or 'before' (the choice of "
                f"experts). Received: softmax={softmax!r}"
            )
        if k == 1 and softmax == "after":
            raise ValueError(
                "`softmax` must be 'before' where `k` is 1: over one chosen "
                "logit it is always 1, and the gate learns nothing from its "
                f"task. Received: k={k}, softmax={softmax!r}"
            )
        check_fraction(jitter=jitter)
        check_not_negative(
            balance_loss_weight=balance_loss_weight,
            z_loss_weight=z_loss_weight,
        )
        self.k = k
        self.softmax = softmax
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
        top_NK, expert_NK = tf.math.top_k(logits_NE, self.k)
        if self.softmax == "after":
            gate_NK = tf.nn.softmax(top_NK)
        else:
            gate_NK = probability_of(top_NK, logits_NE)
        routing = self.routing(expert_NK, gate_NK, mask)
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
            "k": self.k,
            "softmax": self.softmax,
            "jitter": self.jitter,
            "balance_loss_weight": self.balance_loss_weight,
            "z_loss_weight": self.z_loss_weight,
            "seed": self.seed,
        }
