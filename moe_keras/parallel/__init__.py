"""Many devices under the same layers: who takes part, and what lives where."""
