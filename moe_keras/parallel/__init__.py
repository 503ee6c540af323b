"""Experts on many devices.

`MeshLayout` splits them in Mesh-TensorFlow's words.
"""

from moe_keras.parallel.layout import MeshLayout

__all__ = ["MeshLayout"]
