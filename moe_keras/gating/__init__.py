"""Gates: layers that choose experts for tokens, one a file, one contract."""

from moe_keras.gating.batchwise import BatchwiseGate
from moe_keras.gating.hierarchical import HierarchicalGate
from moe_keras.gating.noisy_top_k import NoisyTopKGate
from moe_keras.gating.routing import Routing

__all__ = ["BatchwiseGate", "HierarchicalGate", "NoisyTopKGate", "Routing"]
