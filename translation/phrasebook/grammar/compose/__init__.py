"""Chooses what to say: `compose(rng)` gives the meaning of one sentence."""

from translation.phrasebook.grammar.compose.sentences import compose

__all__ = ["compose"]
