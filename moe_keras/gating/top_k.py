"""Top-k gating without noise, as in GShard, GLaM and Mixtral.

N: tokens    E: experts    K: experts per token
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_k, check_not_negative, check_share
from moe_keras.gating.router import (
    Router,
    probability_of,
    router_loss,
)


@keras.saving.register_keras_serializable(package="moe_keras")
class TopKGate(Router):
    """Chooses the `k` experts with the largest logits.

    With `logits = x W_gate`, the gates are a softmax taken

    - `softmax="after"` the choice, over the k chosen logits alone: they sum
      to 1. It is Mixtral's (arXiv:2401.04088), and the same as a softmax over
      all whose k chosen probabilities are divided by their sum, as in GShard
      (arXiv:2006.16668) and GLaM (arXiv:2112.06905). GShard lets chance leave
      out weak second experts; this gate always takes them.
    - `softmax="before"` the choice, over all E logits: the gates are
      probabilities and sum to less than 1, and an unsure router turns all
      its experts down (OLMoE, arXiv:2409.02060).

    Nothing but its loss keeps the experts in balance: `balance_loss_weight *
    E * sum_e f_e P_e`, with the share of choices f and the mean probability P
    (`losses.balance_loss`), and against growing logits a z-loss
    (`losses.z_loss`). Both are computed over the whole batch, also where
    replicas share it, and only while training. `SparseMoE` adds them, and no
    loss of its own unless it is told to.

    Args:
        num_experts: int. Number of experts E to choose from.
        k: int. Experts per token, from 1 to E. With 1 a softmax after the
            choice is always 1 and would teach the gate nothing: take
            `softmax="before"`, or `SwitchGate`.
        softmax: "after" or "before" the choice.
        jitter: float. While training each input of the router is multiplied
            by a random number from `1 - jitter` to `1 + jitter`; below 1.
        balance_loss_weight: float. Weight of the balance loss.
        z_loss_weight: float. Weight of the z-loss; ST-MoE takes 1e-3.
        seed: int. Seed of the jitter.
        **kwargs: `kernel_initializer` of the router, and those of a layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Jitter and losses are for training only.

    Returns:
        A `Routing`; its gates are in each row positive and sorted, and its
        load counts tokens.

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
        check_share(jitter=jitter)
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
