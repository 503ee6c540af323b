"""Models whose weights are kept in few bits, experts and the rest apart."""

from moe_keras.packed.rounding import WeightQuantization
from moe_keras.quantization.model import quantize
from moe_keras.quantization.sizes import Sizes, sizes_of

__all__ = ["WeightQuantization", "Sizes", "quantize", "sizes_of"]
