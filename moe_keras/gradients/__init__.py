"""Gradients of our own: by hand, summed widely for biases, sparse for experts."""
