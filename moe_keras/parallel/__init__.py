"""Experts on many devices.

`MeshLayout` splits them in Mesh-TensorFlow's words; with `update_in_place`
Keras' `fit` trains them where they are. `divide_processor` makes several
devices of a processor, to try it.
"""

from moe_keras.parallel.mesh.in_place import update_in_place
from moe_keras.parallel.mesh.layout import MeshLayout
from moe_keras.parallel.mesh.processor import divide_processor

__all__ = ["MeshLayout", "divide_processor", "update_in_place"]
