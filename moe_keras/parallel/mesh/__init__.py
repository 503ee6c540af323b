"""Experts split over a mesh of devices, in Mesh-TensorFlow's words."""
