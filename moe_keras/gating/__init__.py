"""Gates: layers that choose experts for tokens, one a file, one contract.

`GATES` has those that a configuration can name.
"""

from moe_keras.gating.batchwise import BatchwiseGate
from moe_keras.gating.bias_balanced import BiasBalancedGate
from moe_keras.gating.expert_choice import ExpertChoiceGate
from moe_keras.gating.hierarchical import HierarchicalGate
from moe_keras.gating.noisy_top_k import NoisyTopKGate
from moe_keras.gating.router import Router
from moe_keras.gating.routing import Routing
from moe_keras.gating.switch import SwitchGate
from moe_keras.gating.threshold import ThresholdGate
from moe_keras.gating.top_k import TopKGate

__all__ = [
    "BatchwiseGate",
    "BiasBalancedGate",
    "ExpertChoiceGate",
    "HierarchicalGate",
    "NoisyTopKGate",
    "Router",
    "Routing",
    "SwitchGate",
    "ThresholdGate",
    "TopKGate",
]

GATES = {
    gate.config_name: gate
    for gate in (globals()[name] for name in __all__)
    if getattr(gate, "config_name", None)
}
