"""Beam search, and what is made of it: texts, scores, ensembles."""
