"""A GNMT-style translator built with `moe_keras.SparseMoE`.

Dimension letters: B batch, S source length, T target length, D depth,
H hidden units, A attention size, V vocabulary, W beam width.
"""
