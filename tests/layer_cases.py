"""Every public layer, once. `conformance_test.py` checks each in every way."""

import dataclasses
from collections.abc import Callable

import keras

import moe_keras


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """How to make one layer, and what to feed it."""

    name: str
    make: Callable  # makes a new layer, always with the same arguments
    shape: tuple  # of its input, batch first
    unknown: tuple = (0,)  # axes whose size a model need not know
    splits: bool = True  # whether replicas may share out the batch
    composed: bool = False  # of layers that all have a case of their own
    choose: Callable = staticmethod(lambda outputs: outputs)  # one tensor


def _dense_expert():
    return keras.layers.Dense(4, activation="tanh")


def _squares_and_loss(routing):
    """A figure for each token: `K` differs, and only a loss has thresholds."""
    return keras.ops.sum(routing.gate**2, axis=-1) + routing.loss


LAYER_CASES = [
    LayerCase(
        "sparse_moe",
        lambda: moe_keras.SparseMoE(5, k=2, hidden_dim=6, seed=1),
        (4, 3, 4),
        unknown=(0, 1),
    ),
    LayerCase(
        "sparse_moe_with_capacity",
        lambda: moe_keras.SparseMoE(
            5, k=2, hidden_dim=6, capacity_factor=1.5, seed=1
        ),
        (4, 3, 4),
        unknown=(0, 1),
    ),
    LayerCase(
        "sparse_moe_of_own_parts",
        lambda: moe_keras.SparseMoE(
            5,
            gate=moe_keras.NoisyTopKGate(5, k=1, noise_epsilon=0.1, seed=1),
            expert=moe_keras.FeedForwardExperts(
                5, 6, activation="gelu", dropout=0.1, recompute=True, seed=1
            ),
            importance_loss_weight=0.2,
            load_loss_weight=0.3,
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_of_keras_layers",
        lambda: moe_keras.SparseMoE(3, k=3, expert=_dense_expert, seed=1),
        (8, 4),
    ),
    LayerCase(
        "sparse_moe_of_hierarchical_gate",
        lambda: moe_keras.SparseMoE(
            6,
            hidden_dim=6,
            gate=moe_keras.HierarchicalGate(2, 3, k=(1, 2), seed=1),
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_of_batchwise_gate",
        lambda: moe_keras.SparseMoE(
            5, hidden_dim=6, gate=moe_keras.BatchwiseGate(5, k=2)
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "hierarchical_gate",
        lambda: moe_keras.HierarchicalGate(3, 2, k=(2, 1), seed=1),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "batchwise_gate",
        lambda: moe_keras.BatchwiseGate(
            5, k=2, threshold_loss_weight=0.2, kernel_initializer="he_normal"
        ),
        (8, 4),
        choose=_squares_and_loss,
    ),
    LayerCase(
        "noisy_top_k_gate",
        lambda: moe_keras.NoisyTopKGate(5, k=2, seed=1),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "feed_forward_experts",
        lambda: moe_keras.FeedForwardExperts(4, 6, output_dim=2, seed=1),
        (4, 5, 3),
        unknown=(1,),
        splits=False,
    ),
    LayerCase(
        "projected_lstm",
        lambda: moe_keras.ProjectedLSTM(6, 3, return_sequences=True),
        (4, 5, 2),
        unknown=(0, 1),
    ),
    LayerCase(
        "sparse_moe_of_mixtral",
        lambda: moe_keras.SparseMoE(
            5,
            gate=moe_keras.TopKGate(5, k=2, jitter=0.1, z_loss_weight=0.1),
            expert=moe_keras.GatedFeedForwardExperts(5, 6),
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_of_switch",
        lambda: moe_keras.SparseMoE(
            5, hidden_dim=6, gate=moe_keras.SwitchGate(5), capacity_factor=1.5
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_balanced_by_bias",
        lambda: moe_keras.SparseMoE(
            5, hidden_dim=6, gate=moe_keras.BiasBalancedGate(5, k=2)
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_by_threshold",
        lambda: moe_keras.SparseMoE(
            5, hidden_dim=6, gate=moe_keras.ThresholdGate(5, k_max=3)
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "sparse_moe_by_expert_choice",
        lambda: moe_keras.SparseMoE(
            5, hidden_dim=6, gate=moe_keras.ExpertChoiceGate(5, causal=False)
        ),
        (4, 3, 4),
        unknown=(0, 1),
        composed=True,
    ),
    LayerCase(
        "top_k_gate",
        lambda: moe_keras.TopKGate(5, k=1, softmax="before", jitter=0.1),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "switch_gate",
        lambda: moe_keras.SwitchGate(5, seed=1),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "bias_balanced_gate",
        lambda: moe_keras.BiasBalancedGate(5, k=2, update_every=2),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "threshold_gate",
        lambda: moe_keras.ThresholdGate(5, k_max=3, mass=0.7, target=1.5),
        (8, 4),
        choose=lambda routing: routing.gate,
    ),
    LayerCase(
        "expert_choice_gate",
        lambda: moe_keras.ExpertChoiceGate(5, causal=False),
        (8, 4),
        # A sum over K, which is not known beforehand.
        choose=lambda routing: keras.ops.sum(routing.gate, axis=-1),
    ),
    LayerCase(
        "gated_feed_forward_experts",
        lambda: moe_keras.GatedFeedForwardExperts(4, 6, output_dim=2),
        (4, 5, 3),
        unknown=(1,),
        splits=False,
    ),
]
