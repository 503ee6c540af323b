"""Every public layer, once. `conformance_test.py` checks each in every way.

Over the cases of a class each of its arguments has more values than one: a
config that always says the same, or the default, is wrong for one of them.
"""

import dataclasses
from collections.abc import Callable

import keras

import moe_keras
from moe_keras.experts import ClampedGLU, WeightQuantization


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """How to make one layer, and what to feed it."""

    name: str
    layer: type
    arguments: Callable  # gives them by name, with new layers at each call
    shape: tuple = None  # of its input, batch first; None: it is not called
    unknown: tuple = (0,)  # axes whose size a model need not know
    splits: bool = True  # whether replicas may share out the batch
    composed: bool = False  # of layers that all have a case of their own
    choose: Callable = staticmethod(lambda outputs: outputs)  # one tensor

    def make(self):
        """A new layer, always with the same arguments."""
        return self.layer(**self.arguments())


def _dense_expert():
    return keras.layers.Dense(4, activation="tanh")


def _squares_and_loss(routing):
    """A figure for each token: `K` differs, and only a loss has thresholds."""
    return keras.ops.sum(routing.gate**2, axis=-1) + routing.loss


LAYER_CASES = [
    LayerCase(
        "sparse_moe",
        moe_keras.SparseMoE,
        lambda: dict(num_experts=5, k=2, hidden_dim=6, seed=1),
        (4, 3, 4),
        unknown=(0, 1),
    ),
    LayerCase(
        "sparse_moe_with_capacity",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5, k=2, hidden_dim=6, capacity_factor=1.5, seed=1
        ),
        (4, 3, 4),
        unknown=(0, 1),
    ),
    LayerCase(
        "sparse_moe_of_own_parts",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5,
            gate=moe_keras.NoisyTopKGate(5, k=1, noise_epsilon=0.1, seed=1),
            expert=moe_keras.FeedForwardExperts(
                5, 6, activation="gelu", dropout=0.1, recompute=True, seed=1
            ),
            importance_loss_weight=0.2,
            load_loss_weight=0.3,
            log_figures=False,
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_of_keras_layers",
        moe_keras.SparseMoE,
        lambda: dict(num_experts=3, k=3, expert=_dense_expert, seed=1),
        (8, 4),
    ),
    LayerCase(
        "sparse_moe_of_hierarchical_gate",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=6,
            hidden_dim=6,
            gate=moe_keras.HierarchicalGate(2, 3, k=(1, 2), seed=1),
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_of_batchwise_gate",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5, hidden_dim=6, gate=moe_keras.BatchwiseGate(5, k=2)
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "hierarchical_gate",
        moe_keras.HierarchicalGate,
        lambda: dict(
            num_groups=3,
            experts_per_group=2,
            k=(2, 1),
            noise_epsilon=0.1,
            initial_noise=0.5,
            seed=1,
            kernel_regularizer=keras.regularizers.L2(0.01),
            use_bias=True,
        ),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "batchwise_gate",
        moe_keras.BatchwiseGate,
        lambda: dict(
            num_experts=5,
            k=2,
            threshold_loss_weight=0.2,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            use_bias=True,
        ),
        (8, 4),
        choose=_squares_and_loss,
    ),
    LayerCase(
        "noisy_top_k_gate",
        moe_keras.NoisyTopKGate,
        lambda: dict(
            num_experts=5,
            k=2,
            noise_epsilon=0.1,
            initial_noise=0.5,
            seed=1,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            use_bias=True,
        ),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "feed_forward_experts",
        moe_keras.FeedForwardExperts,
        lambda: dict(num_experts=4, hidden_dim=6, output_dim=2, seed=1),
        (4, 5, 3),
        unknown=(1,),
        splits=False,
    ),
    LayerCase(
        "projected_lstm",
        moe_keras.ProjectedLSTM,
        lambda: dict(units=6, projection_dim=3, return_sequences=True),
        (4, 5, 2),
        unknown=(0, 1),
    ),
    LayerCase(
        "sparse_moe_of_mixtral",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5,
            gate=moe_keras.TopKGate(5, k=2, jitter=0.1, z_loss_weight=0.1),
            expert=moe_keras.GatedFeedForwardExperts(5, 6),
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_of_switch",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5,
            hidden_dim=6,
            gate=moe_keras.SwitchGate(5),
            capacity_factor=1.5,
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_balanced_by_bias",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5, hidden_dim=6, gate=moe_keras.BiasBalancedGate(5, k=2)
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_with_shared_expert",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5,
            gate=moe_keras.TopKGate(5, k=2),
            expert=moe_keras.GatedFeedForwardExperts(5, 6),
            shared_expert=moe_keras.GatedFeedForwardExperts(2, 7),
            shared_gate="sigmoid",
        ),
        (4, 3, 4),
        unknown=(0, 1),
    ),
    LayerCase(
        "sparse_moe_with_shared_keras_layer",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5,
            k=2,
            hidden_dim=6,
            shared_expert=keras.Sequential([_dense_expert()]),
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_by_threshold",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5,
            hidden_dim=6,
            gate=moe_keras.ThresholdGate(5, k_max=3),
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_by_expert_choice",
        moe_keras.SparseMoE,
        lambda: dict(
            num_experts=5,
            hidden_dim=6,
            gate=moe_keras.ExpertChoiceGate(5, causal=False),
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "top_k_gate",
        moe_keras.TopKGate,
        lambda: dict(
            num_experts=5,
            k=1,
            softmax="before",
            jitter=0.1,
            balance_loss_weight=0.2,
            z_loss_weight=0.3,
            seed=1,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            use_bias=True,
        ),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "switch_gate",
        moe_keras.SwitchGate,
        lambda: dict(
            num_experts=5,
            jitter=0.1,
            balance_loss_weight=0.2,
            z_loss_weight=0.3,
            seed=1,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            use_bias=True,
        ),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "bias_balanced_gate",
        moe_keras.BiasBalancedGate,
        lambda: dict(
            num_experts=8,
            k=2,
            update_rate=0.1,
            update_every=2,
            num_groups=4,
            groups_per_token=2,
            gate_scale=2.5,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            use_bias=True,
        ),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "threshold_gate",
        moe_keras.ThresholdGate,
        lambda: dict(
            num_experts=5,
            k_max=3,
            mass=0.7,
            target=1.5,
            target_rate=0.1,
            balance_loss_weight=0.2,
            z_loss_weight=0.3,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            use_bias=True,
        ),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "expert_choice_gate",
        moe_keras.ExpertChoiceGate,
        lambda: dict(
            num_experts=5,
            causal=False,
            capacity_factor=1.5,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            use_bias=True,
        ),
        (8, 4),
        # A sum over K, which is not known beforehand.
        choose=lambda routing: keras.ops.sum(routing.gate, axis=-1),
    ),
    LayerCase(
        "gated_feed_forward_experts",
        moe_keras.GatedFeedForwardExperts,
        lambda: dict(num_experts=4, hidden_dim=6, output_dim=2),
        (4, 5, 3),
        unknown=(1,),
        splits=False,
    ),
    LayerCase(
        "gated_feed_forward_experts_of_gpt_oss",
        moe_keras.GatedFeedForwardExperts,
        lambda: dict(
            num_experts=4, hidden_dim=6, use_bias=True, glu=ClampedGLU(3.0, 1.5)
        ),
        (4, 5, 3),
        unknown=(1,),
        splits=False,
    ),
]

GATES = (
    moe_keras.BatchwiseGate,
    moe_keras.BiasBalancedGate,
    moe_keras.NoisyTopKGate,
    moe_keras.SwitchGate,
    moe_keras.ThresholdGate,
    moe_keras.TopKGate,
)
# Values that the arguments above have not. Of these layers the configs alone
# are looked at: they are neither built nor called.
CONFIG_CASES = [
    *(
        LayerCase(
            f"config_of_{gate.__name__}", gate, lambda: dict(num_experts=6)
        )
        for gate in GATES
    ),
    LayerCase(
        "config_of_ExpertChoiceGate",
        moe_keras.ExpertChoiceGate,
        lambda: dict(num_experts=6, causal=False),
    ),
    LayerCase(
        "config_of_HierarchicalGate",
        moe_keras.HierarchicalGate,
        lambda: dict(num_groups=4, experts_per_group=5, sparse_gradients=True),
    ),
    LayerCase(
        "config_of_SparseMoE",
        moe_keras.SparseMoE,
        lambda: dict(num_experts=5, hidden_dim=7, activation="gelu"),
    ),
    LayerCase(
        "config_of_FeedForwardExperts",
        moe_keras.FeedForwardExperts,
        lambda: dict(
            num_experts=5,
            hidden_dim=7,
            activation="gelu",
            use_bias=False,
            dropout=0.1,
            recompute=True,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            bias_regularizer=keras.regularizers.L1(0.01),
            lora_rank=2,
            lora_alpha=4,
            sparse_gradients=True,
        ),
    ),
    LayerCase(
        "config_of_GatedFeedForwardExperts",
        moe_keras.GatedFeedForwardExperts,
        lambda: dict(
            num_experts=5,
            hidden_dim=7,
            activation="gelu",
            recompute=True,
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(0.01),
            bias_regularizer=keras.regularizers.L1(0.01),
            lora_rank=2,
            lora_alpha=4,
            sparse_gradients=True,
        ),
    ),
    LayerCase(
        "config_of_packed_FeedForwardExperts",
        moe_keras.FeedForwardExperts,
        lambda: dict(
            num_experts=5, hidden_dim=7, quantization=WeightQuantization(8)
        ),
    ),
    LayerCase(
        "config_of_packed_GatedFeedForwardExperts",
        moe_keras.GatedFeedForwardExperts,
        lambda: dict(
            num_experts=5, hidden_dim=7, quantization=WeightQuantization(3, 32)
        ),
    ),
    LayerCase(
        "config_of_ProjectedLSTM",
        moe_keras.ProjectedLSTM,
        lambda: dict(
            units=7,
            return_state=True,
            go_backwards=True,
            unit_forget_bias=False,
            kernel_initializer="he_normal",
            recurrent_initializer="he_uniform",
            projection_initializer="lecun_normal",
            compiled=False,
            quantization=WeightQuantization(4, 32),
        ),
    ),
]
