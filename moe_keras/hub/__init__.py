"""keras-hub's mixtures of experts, sparse.

Nothing else in `moe_keras` imports this package, which needs keras-hub.
"""

from moe_keras.hub.sparsify import FAMILIES, densify, sparsify

__all__ = ["FAMILIES", "densify", "sparsify"]
