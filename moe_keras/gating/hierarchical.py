"""Hierarchical gating: first a group, then experts of it (appendix B).

N: tokens    D: depth    G: groups of experts    M: experts of a group
E: experts, G x M    K: experts per token, those of all its groups
S: choices of a group, sorted by group
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_sizes, is_whole
from moe_keras.dispatch import dispatch, plan_dispatch
from moe_keras.experts.initial_values import each_alone
from moe_keras.experts.segments import multiply_segments
from moe_keras.gating.noisy_top_k import (
    INITIAL_NOISE,
    KEPT_PER_LOGIT,
    NoisyTopKGate,
    noisy_top_k,
    with_offset,
)
from moe_keras.gating.router import Router
from moe_keras.gating.sizes import GateCost
from moe_keras.gradients.slices import SparseGradients
from moe_keras.placement.replicas import sum_over_replicas


@keras.saving.register_keras_serializable(package="moe_keras")
class HierarchicalGate(SparseGradients, Router):
    """Noisy top-k at two levels: `k[0]` groups, `k[1]` experts of each.

        tokens (N, D) -> primary gate: k[0] of G groups
        dispatch:        the tokens of each group, side by side
        secondary gates: k[1] of the group's M experts, for these tokens alone
        gate = primary gate * secondary gate                  (equation 12)

    A flat gate multiplies every token with the weights of all E experts. This
    one multiplies it with the weights of G groups and of the experts of
    `k[0]` groups: N x D x (G + k[0] x M), least where G is near to the square
    root of E.

    Expert j of group i is number `i * M + j` of E. Both levels choose and
    weigh like `NoisyTopKGate`, also for k = 1 and zero kernels. With X_i for
    the tokens sent to group i, counted and not estimated, the totals for the
    balancing losses are (appendix B)

        importance_ij = sum over x of primary(x)_i * secondary_i(x)_j
        load_ij = load_primary(X)_i * load_i(X_i)_j / |X_i|

    so the load has a gradient at both levels. In a group without a token that
    fraction is 0/0. It is then `k[1] / M` for each of its experts, and the
    load loss can bring the group back.

    Outside of training there is no noise, the same input always gives the
    same routing, and `load` counts tokens.

    `metrics` are `noise` and `gap` of the primary gate, see `NoisyTopKGate`:
    they tell how much the noise decides which groups a token goes to. Where a
    token goes to all groups the gap is 0, and the noise decides nothing.

    Args:
        num_groups: int. Number of groups G.
        experts_per_group: int. Number of experts M of each group.
        k: Pair of int. Groups per token, from 1 to G, and experts in each of
            them, from 1 to M.
        noise_epsilon: float. Floor of the noise's standard deviation, at both
            levels.
        seed: int. Seed of the noise; see `NoisyTopKGate` for what equal seeds
            promise.
        kernel_initializer: Initializer of `gate_kernel`, of the primary gate
            and of each group as if it were alone.
        initial_noise: float. Standard deviation of the noise at both levels
            before any training, see `NoisyTopKGate`.
        sparse_gradients: bool. As of `StackedExperts`: gradients of the
            kernels as slices of the groups that have tokens.
        **kwargs: `kernel_regularizer` and `use_bias` of both levels, and
            arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Whether to add noise and to estimate the load.

    Returns:
        A `Routing` with K = `k[0] * k[1]`. The gates of a token are sorted,
        and sum to 1 unless `k` has a 1.

    Raises:
        ValueError: If `k` has not two numbers within their ranges. When called,
            if `inputs` or `mask` has another shape.

    Example:

    >>> gate = HierarchicalGate(num_groups=4, experts_per_group=8, k=(2, 2))
    >>> routing = gate(keras.ops.ones((5, 3)), training=True)
    >>> tuple(routing.expert_index.shape), tuple(routing.load.shape)
    ((5, 4), (32,))
    """

    config_name = "hierarchical"
    has_loss = False
    uses_groups = True
    not_options = (
        "num_groups",
        "experts_per_group",
        "k",
        "sparse_gradients",
    )
    metric_names = NoisyTopKGate.metric_names
    balance_knobs = NoisyTopKGate.balance_knobs
    noise_knob = NoisyTopKGate.noise_knob

    def __init__(
        self,
        num_groups,
        experts_per_group,
        k=(2, 2),
        noise_epsilon=1e-2,
        seed=None,
        sparse_gradients=False,
        kernel_initializer="zeros",
        initial_noise=INITIAL_NOISE,
        **kwargs,
    ):
        check_sizes(num_groups=num_groups, experts_per_group=experts_per_group)
        super().__init__(
            num_groups * experts_per_group, kernel_initializer, **kwargs
        )
        k = tuple(k) if isinstance(k, (tuple, list)) else (k,)
        sizes = (num_groups, experts_per_group)
        if len(k) != 2 or not all(
            is_whole(chosen) and 1 <= chosen <= size
            for chosen, size in zip(k, sizes, strict=True)
        ):
            raise ValueError(
                "`k` must be two numbers, from 1 to `num_groups` and from 1 "
                f"to `experts_per_group`. Received: k={k}, "
                f"num_groups={num_groups}, "
                f"experts_per_group={experts_per_group}"
            )
        self.num_groups = num_groups
        self.experts_per_group = experts_per_group
        self.k = k
        self.noise_epsilon = noise_epsilon
        self.initial_noise = initial_noise
        self.seed = seed
        self.sparse_gradients = sparse_gradients
        self.primary = NoisyTopKGate(
            num_groups,
            k=k[0],
            noise_epsilon=noise_epsilon,
            seed=seed,
            kernel_initializer=kernel_initializer,
            initial_noise=initial_noise,
            kernel_regularizer=self.kernel_regularizer,
            use_bias=self.use_bias,
            dtype=self.dtype_policy,
            name="primary",
        )
        self.supports_jit = False  # segments are ragged

    def build(self, input_shape):
        self.primary.build(input_shape)
        shape = (self.num_groups, input_shape[-1], self.experts_per_group)
        draw = each_alone(self.kernel_initializer)
        self.gate_kernel = self.add_kernel(
            "gate_kernel",
            shape,
            lambda shape, dtype=None: tf.stack(
                [draw(group, shape[1:], dtype) for group in range(shape[0])]
            ),
            self.kernel_regularizer,
        )
        self.add_gate_bias((self.num_groups, self.experts_per_group))
        self.noise_kernel = self.add_kernel("noise_kernel", shape)

    def call(self, inputs, mask=None, training=False):
        # A token visits its groups as it visits experts: it is dispatched to
        # them, chooses within each, and its choices are then put together.
        primary = self.primary(inputs, mask=mask, training=training)
        plan = plan_dispatch(primary.expert_index, self.num_groups)
        # Masked tokens come last, behind all groups: none is multiplied.
        group_A = tf.reshape(tf.transpose(primary.expert_index), [-1])
        group_S = tf.gather(group_A, plan.choice_index)
        secondary = self._choose_in_groups(
            dispatch(self.tokens(inputs), plan), plan.counts, group_S, training
        )
        routing = self.routing(*self._join_levels(primary, secondary, plan))
        if training:
            load_E = self._smooth_load(
                primary, secondary.chance, plan.counts, group_S
            )
            routing = routing._replace(load=load_E)
        return routing._replace(metrics=primary.metrics)

    def _choose_in_groups(self, rows_SD, counts_G, group_S, training):
        kernels = [self.gate_kernel, self.noise_kernel]
        clean_SM, *spreads = multiply_segments(
            rows_SD,
            counts_G,
            kernels if training else kernels[:1],
            sparse_gradients=self.sparse_gradients,
        )
        spread_SM = None
        if training:
            spread_SM = with_offset(spreads[0], self.initial_noise)
        if self.use_bias:
            clean_SM += tf.gather(self.gate_bias, tf.maximum(group_S, 0))
        return noisy_top_k(
            clean_SM,
            spread_SM,
            self.k[1],
            self.noise_epsilon,
            # Two generators of one seed would draw the same noise.
            self.primary.seed_generator,
        )

    def _join_levels(self, primary, secondary, plan):
        # Expert j of group i is number i * experts_per_group + j, and its gate
        # is the product of both levels; the best of a token comes first.
        def to_tokens(values):
            # (S, k[1]) -> (N, k[0], k[1]): every choice has one slot.
            return tf.transpose(tf.gather(values, plan.slot_index), [1, 0, 2])

        group = primary.expert_index[:, :, None]
        first = group * self.experts_per_group
        expert = tf.where(group < 0, -1, first + to_tokens(secondary.index))
        gate = primary.gate[:, :, None] * to_tokens(secondary.gate)
        num_chosen = self.k[0] * self.k[1]
        gate_NK, order_NK = tf.math.top_k(
            tf.reshape(gate, [-1, num_chosen]), num_chosen
        )
        expert_NK = tf.reshape(expert, [-1, num_chosen])
        return tf.gather(expert_NK, order_NK, batch_dims=1), gate_NK

    def _smooth_load(self, primary, chance_SM, counts_G, group_S):
        # Load_ij = Load_primary_i * Load_i(X_i)_j / |X_i| (appendix B), where
        # X_i are the tokens sent to group i. Without any the load is even.
        chosen_GM = tf.math.unsorted_segment_sum(
            chance_SM, group_S, self.num_groups
        )
        # Over all replicas, because the load of the batch is a product of
        # totals: a sum of the replicas' products would be another number.
        chosen_GM = sum_over_replicas(chosen_GM)
        sent_G = sum_over_replicas(tf.cast(counts_G, chance_SM.dtype))
        sent_G1 = sent_G[:, None]
        fraction_GM = tf.where(
            sent_G1 > 0,
            chosen_GM / tf.maximum(sent_G1, 1),
            self.k[1] / self.experts_per_group,
        )
        return tf.reshape(primary.load[:, None] * fraction_GM, [-1])

    def get_config(self):
        config = super().get_config()
        del config["num_experts"]
        return {
            **config,
            "num_groups": self.num_groups,
            "experts_per_group": self.experts_per_group,
            "k": self.k,
            "noise_epsilon": self.noise_epsilon,
            "initial_noise": self.initial_noise,
            "seed": self.seed,
            "sparse_gradients": self.sparse_gradients,
        }

    @classmethod
    def arguments_for(cls, sizes):
        groups = sizes.groups_per_token
        return {
            "num_groups": sizes.groups,
            "experts_per_group": sizes.num_experts // sizes.groups,
            "k": (groups, sizes.k // groups),
        }

    @classmethod
    def cost(cls, sizes):
        depth, groups = sizes.depth, sizes.groups
        chosen = min(groups, sizes.groups_per_token)
        of_group = sizes.num_experts // groups
        logits = groups + chosen * of_group
        stack = (groups, depth, of_group)
        weights = {
            "primary/gate_kernel": (depth, groups),
            "primary/noise_kernel": (depth, groups),
            "gate_kernel": stack,
            "noise_kernel": stack,
        }
        if sizes.bias:
            weights["primary/gate_bias"] = (groups,)
            weights["gate_bias"] = (groups, of_group)
        return GateCost(
            weights=weights,
            ops=2 * depth * logits,
            # The backward pass also needs the tokens, sorted by their groups.
            kept=KEPT_PER_LOGIT * logits + chosen * depth,
        )
