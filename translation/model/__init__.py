"""The translator: its layers, its configuration and its size."""
