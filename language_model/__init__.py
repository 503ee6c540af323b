"""Language models with mixtures of experts (arXiv:1701.06538, appendix C).

Text, vocabulary and residual blocks are the translator's, see `translation`.
"""
