"""Finds the tokens of an expert, and the contexts of its highest gates.

N: tokens    E: experts    V: distinct tokens    A: choices
"""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class TokenUse:
    """A token as one expert sees it.

    Attributes:
        token: str.
        count: int. How often it occurs in the corpus.
        share: float. Fraction of its occurrences that went to the expert.
        gate: float. Mean gate of the expert over all occurrences, 0 where the
            token went elsewhere.
    """

    token: str
    count: int
    share: float
    gate: float


@dataclasses.dataclass(frozen=True)
class Context:
    """A token in its place, and the gate that it had there."""

    gate: float
    before: str
    token: str
    after: str


@dataclasses.dataclass(frozen=True)
class ExpertProfile:
    """One expert.

    Attributes:
        expert: int.
        load: float. Fraction of all choices that fell on it.
        importance: float. Fraction of all gates that it got.
        speciality: float or None. Bits that a choice of this expert tells of
            the token, beyond chance: 0 for a fair sample of the corpus. None
            for an expert without tokens.
        tokens: Tuple of `TokenUse`, those with the highest mean gate.
        contexts: Tuple of `Context`, those with the highest gates.
    """

    expert: int
    load: float
    importance: float
    speciality: float | None
    tokens: tuple
    contexts: tuple


@dataclasses.dataclass(frozen=True)
class TokenRoute:
    """Where a token goes.

    Attributes:
        token: str.
        count: int. How often it occurs.
        shares: Tuple of E floats. Fraction of its choices that fell on each
            expert.
    """

    token: str
    count: int
    shares: tuple


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much to show, and how.

    Attributes:
        tokens: int. Tokens of an expert.
        contexts: int. Contexts of an expert.
        routes: int. Most frequent tokens whose experts are shown.
        width: int. Tokens on each side of a context.
        rarest: int. Tokens that occur less often are not shown for an expert,
            because their mean gate is a matter of chance.
        join: Function that joins a list of tokens to text.
    """

    tokens: int = 10
    contexts: int = 8
    routes: int = 40
    width: int = 5
    rarest: int = 10
    join: Callable = " ".join


def token_uses(routed, extent):
    """Finds the tokens with the highest mean gate of each expert.

    Args:
        routed: `RoutedTokens`.
        extent: `Extent`.

    Returns:
        List of E tuples of `TokenUse`, the highest first.
    """
    token_N, choices = routed.token.ids(), routed.choices()
    names = routed.token.names
    count_V = np.bincount(token_N, minlength=len(names))
    kind_A = token_N[choices.token]
    uses = []
    for expert in range(routed.num_experts):
        here_A = choices.expert == expert
        visits_V = np.bincount(kind_A[here_A], minlength=len(names))
        gate_V = np.bincount(
            kind_A[here_A], choices.gate[here_A], minlength=len(names)
        ) / np.maximum(count_V, 1)
        shown = (count_V >= extent.rarest) & (visits_V > 0)
        best = np.argsort(np.where(shown, -gate_V, 0.0), kind="stable")
        uses.append(
            tuple(
                TokenUse(
                    token=names[v],
                    count=int(count_V[v]),
                    share=float(visits_V[v] / count_V[v]),
                    gate=float(gate_V[v]),
                )
                for v in best[: extent.tokens]
                if shown[v]
            )
        )
    return uses


def contexts(routed, extent):
    """Finds the places in the corpus with the highest gates of each expert.

    This is how the paper shows its experts (table 9). Of contexts with the
    same text it keeps one.

    Args:
        routed: `RoutedTokens`.
        extent: `Extent`.

    Returns:
        List of E tuples of `Context`, the highest first.
    """
    choices = routed.choices()
    reader = _Reader(routed, extent)
    found = []
    for expert in range(routed.num_experts):
        (here,) = np.nonzero(choices.expert == expert)
        here = here[np.argsort(-choices.gate[here], kind="stable")]
        kept = {}
        for choice in here:
            if len(kept) == extent.contexts:
                break
            text = reader.read(choices.token[choice])
            kept.setdefault(text, float(choices.gate[choice]))
        found.append(
            tuple(
                Context(gate, before, token, after)
                for (before, token, after), gate in kept.items()
            )
        )
    return found


def routes(routed, extent):
    """Counts where the most frequent tokens go.

    Args:
        routed: `RoutedTokens`.
        extent: `Extent`.

    Returns:
        List of `TokenRoute`, the most frequent first.
    """
    token_N, choices = routed.token.ids(), routed.choices()
    names = routed.token.names
    count_V = np.bincount(token_N, minlength=len(names))
    kind_A = token_N[choices.token]
    found = []
    for v in np.argsort(-count_V, kind="stable")[: extent.routes]:
        visits_E = np.bincount(
            choices.expert[kind_A == v], minlength=routed.num_experts
        )
        shares_E = visits_E / max(visits_E.sum(), 1)
        found.append(
            TokenRoute(names[v], int(count_V[v]), tuple(shares_E.tolist()))
        )
    return found


class _Reader:
    """Reads a token with the words around it."""

    def __init__(self, routed, extent):
        self._names, self._extent = routed.token.names, extent
        self._token_N = routed.token.ids()
        sentence_N = routed.sentence()
        sentences = np.arange(sentence_N.max(initial=-1) + 1)
        self._begin_N = np.searchsorted(sentence_N, sentences)[sentence_N]
        self._end_N = np.searchsorted(sentence_N, sentences, "right")[
            sentence_N
        ]

    def read(self, n):
        """Returns the text before token n, its own, and that after it."""
        width = self._extent.width
        first = max(n - width, self._begin_N[n])
        last = min(n + 1 + width, self._end_N[n])
        before, token, after = (
            self._extent.join([self._names[v] for v in self._token_N[part]])
            for part in (slice(first, n), slice(n, n + 1), slice(n + 1, last))
        )
        if not token.strip():  # show the name of a token without text
            token = self._names[self._token_N[n]]
        return before, token, after
