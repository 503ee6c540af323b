"""keras-hub's mixtures of experts: sparse, in few bits, with low-rank pairs.

Nothing else in `moe_keras` imports this package, which needs keras-hub.
"""

from moe_keras.hub import versions  # noqa: F401  first: it says what is missing
from moe_keras.hub.few_bits import load_quantized
from moe_keras.hub.lora import enable_lora, merge_lora
from moe_keras.hub.quantize import quantize
from moe_keras.hub.sparsify import FAMILIES, densify, sparsify

__all__ = [
    "FAMILIES",
    "densify",
    "enable_lora",
    "load_quantized",
    "merge_lora",
    "quantize",
    "sparsify",
]
