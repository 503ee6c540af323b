"""Collects the tokens of a corpus, and where one MoE layer sent them.

N: tokens    S: sentences    T: tokens of a sentence    K: experts per token
A: choices, one for each token and each expert that it went to
"""

from typing import Any, NamedTuple

import numpy as np


class Choices(NamedTuple):
    """Every choice of every token, as arrays `(A,)`.

    Attributes:
        token: int64. The token, from 0 to N - 1.
        expert: int64.
        gate: float64.
    """

    token: Any
    expert: Any
    gate: Any


class Column:
    """Values of any kind, stored as numbers.

    Attributes:
        names: List of the distinct values, in the order of appearance.

    Example:

    >>> column = Column()
    >>> column.add(["b", "a", "b"])
    >>> column.names, column.ids().tolist()
    (['b', 'a'], [0, 1, 0])
    """

    def __init__(self):
        self._id_of, self._parts = {}, [np.zeros(0, "int64")]

    def add(self, values):
        """Adds values at the end."""
        ids = [self._id_of.setdefault(v, len(self._id_of)) for v in values]
        self._parts.append(np.array(ids, "int64"))

    @property
    def names(self):
        return list(self._id_of)

    def ids(self):
        """Returns the place in `names` of each value, an int64 array."""
        return np.concatenate(self._parts)


class RoutedTokens:
    """Collects sentence by sentence where one layer sent the tokens.

    Args:
        num_experts: int. Number of experts E of the layer.

    Attributes:
        token: `Column` of the N tokens.
        factors: dict of `Column`, by name: what else is known of each token.
            It always has "position", from 0 in each sentence.
        label: `Column` of the labels of the S sentences, or None where they
            were added without labels.
        of_sentences: dict of `Column`, by name: what else is known of each of
            the S sentences, such as its language.

    Example:

    >>> routed = RoutedTokens(num_experts=4)
    >>> routed.add(["a", "dog"], [[3, 1], [2, -1]], [[0.7, 0.3], [1.0, 0.0]])
    >>> choices = routed.choices()
    >>> choices.token.tolist(), choices.expert.tolist()
    ([0, 0, 1], [3, 1, 2])
    """

    def __init__(self, num_experts):
        self.num_experts = num_experts
        self.token = Column()
        self.factors = {"position": Column()}
        self.label = None
        self.of_sentences = {}
        self._num_tokens = 0
        self._lengths, self._choices = [], []

    def add(
        self,
        tokens,
        expert_index,
        gate,
        label=None,
        of_sentence=None,
        **factors,
    ):
        """Adds one sentence.

        Args:
            tokens: List of T str.
            expert_index: int array `(T, K)`, -1 for no expert. K may differ
                from sentence to sentence.
            gate: float array `(T, K)`.
            label: str or other value, such as the domain of the sentence;
                for all sentences or for none.
            of_sentence: dict by name of further values of the sentence, with
                the same names for all sentences; or None.
            **factors: Lists of T values, with the same names for all
                sentences.

        Raises:
            ValueError: If an argument does not fit the tokens, the experts or
                the sentences before.
        """
        expert_TK, gate_TK = np.asarray(expert_index), np.asarray(gate)
        factors = {"position": range(len(tokens)), **factors}
        self._check(tokens, expert_TK, gate_TK, factors)
        if not self._lengths:
            self.factors = {name: Column() for name in factors}
            self.label = None if label is None else Column()
            self.of_sentences = {name: Column() for name in of_sentence or {}}
        self._check_same(label, factors, of_sentence or {})
        self.token.add(tokens)
        for name, values in factors.items():
            self.factors[name].add(values)
        if label is not None:
            self.label.add([label])
        for name, value in (of_sentence or {}).items():
            self.of_sentences[name].add([value])
        token_A, place_A = np.nonzero(expert_TK >= 0)
        self._choices.append(
            (
                self._num_tokens + token_A,
                expert_TK[token_A, place_A],
                gate_TK[token_A, place_A],
            )
        )
        self._lengths.append(len(tokens))
        self._num_tokens += len(tokens)

    def choices(self):
        """Returns all `Choices` in the order of tokens, the best first."""
        empty = (np.zeros(0), np.zeros(0), np.zeros(0))
        token, expert, gate = map(
            np.concatenate, zip(empty, *self._choices, strict=True)
        )
        return Choices(token.astype("int64"), expert.astype("int64"), gate)

    @property
    def num_sentences(self):
        return len(self._lengths)

    def sentence(self):
        """Returns the sentence of each token, an int64 array `(N,)`."""
        return np.repeat(np.arange(len(self._lengths)), self._lengths)

    def _check(self, tokens, expert_TK, gate_TK, factors):
        if expert_TK.ndim != 2 or len(expert_TK) != len(tokens):
            raise ValueError(
                "`expert_index` must have a row for each token. Received: "
                f"shape {expert_TK.shape} for {len(tokens)} tokens"
            )
        if gate_TK.shape != expert_TK.shape:
            raise ValueError(
                "`gate` must have the shape of `expert_index`. Received: "
                f"{gate_TK.shape} and {expert_TK.shape}"
            )
        if expert_TK.size and expert_TK.max() >= self.num_experts:
            raise ValueError(
                f"`expert_index` must be below num_experts={self.num_experts}."
                f" Received: {expert_TK.max()}"
            )
        for name, values in factors.items():
            if len(values) != len(tokens):
                raise ValueError(
                    f"`{name}` must have a value for each token. Received: "
                    f"{len(values)} for {len(tokens)} tokens"
                )

    def _check_same(self, label, factors, of_sentence):
        if (label is None) != (self.label is None):
            raise ValueError(
                "`label` must be given for all sentences or for none. "
                f"Received: label={label!r} for sentence {len(self._lengths)}"
            )
        if set(of_sentence) != set(self.of_sentences):
            raise ValueError(
                "`of_sentence` must have the same names for all sentences. "
                f"Received: {sorted(of_sentence)}, before "
                f"{sorted(self.of_sentences)}"
            )
        if set(factors) != set(self.factors):
            raise ValueError(
                "Factors must be the same for all sentences. Received: "
                f"{sorted(factors)}, before {sorted(self.factors)}"
            )
