"""Weights kept in few bits: rounding, packing, and layers that have them."""
