"""One gate of every kind, of four experts, for tests of what all gates do."""

from moe_keras import (
    BatchwiseGate,
    BiasBalancedGate,
    ExpertChoiceGate,
    HierarchicalGate,
    NoisyTopKGate,
    SwitchGate,
    ThresholdGate,
    TopKGate,
)

E = 4
GATES = {
    "noisy_top_k": lambda **kwargs: NoisyTopKGate(E, k=2, seed=0, **kwargs),
    "hierarchical": lambda **kwargs: HierarchicalGate(
        2, 2, k=(2, 1), seed=0, **kwargs
    ),
    "top_k": lambda **kwargs: TopKGate(E, **kwargs),
    "switch": lambda **kwargs: SwitchGate(E, **{"jitter": 0.0, **kwargs}),
    "bias_balanced": lambda **kwargs: BiasBalancedGate(E, k=2, **kwargs),
    "threshold": lambda **kwargs: ThresholdGate(E, **kwargs),
    "batchwise": lambda **kwargs: BatchwiseGate(E, k=2, **kwargs),
    "expert_choice": lambda **kwargs: ExpertChoiceGate(
        E, causal=False, **kwargs
    ),
}
