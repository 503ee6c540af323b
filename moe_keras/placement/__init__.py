"""The seam between layers and devices: the only one that layers import."""
