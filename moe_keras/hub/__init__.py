"""keras-hub's mixtures of experts, sparse and in few bits.

Nothing else in `moe_keras` imports this package, which needs keras-hub.
"""

from moe_keras.hub.few_bits import load_quantized
from moe_keras.hub.quantize import quantize
from moe_keras.hub.sparsify import FAMILIES, densify, sparsify

__all__ = ["FAMILIES", "densify", "load_quantized", "quantize", "sparsify"]
