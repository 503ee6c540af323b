"""The training engine, for any model that has a loss."""
