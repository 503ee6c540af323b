"""Gradients of our own: by hand, wide for biases, sparse for experts."""
