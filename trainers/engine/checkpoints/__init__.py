"""Checkpoints: written whole, named variables, the best and the last."""
