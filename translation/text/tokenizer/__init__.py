"""Subwords: SentencePiece in Python and in the graph."""
