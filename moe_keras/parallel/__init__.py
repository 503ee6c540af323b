"""Experts on many devices.

`MeshLayout` splits them in Mesh-TensorFlow's words; with `update_in_place`
Keras' `fit` trains them where they are.
"""

from moe_keras.parallel.in_place import update_in_place
from moe_keras.parallel.layout import MeshLayout

__all__ = ["MeshLayout", "update_in_place"]
