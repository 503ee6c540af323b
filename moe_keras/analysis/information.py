"""Measures what a choice of experts tells of something, beyond chance.

A: choices    U: units that are shuffled    E: experts
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

# With more possible combinations than this, rows are sorted, not tallied.
_TALLIED = 20_000_000


@dataclasses.dataclass(frozen=True)
class Information:
    """Mutual information of the expert and something else, in bits.

    A sample always shows some information, even where there is none, because
    rare values meet few experts by chance. So the values are shuffled several
    times, and what is left is what this sample shows by chance.

    Attributes:
        name: str. What the expert tells of.
        given: str or None. What is known already.
        bits: float. Information in the sample.
        shuffled_mean: float. Mean information after a shuffle.
        shuffled_spread: float. Its standard deviation.
        shuffled_max: float. The most information after any shuffle.
        possible: float. All that can be known of the expert of a choice:
            I(expert; the token at its place in its sentence).
    """

    name: str
    given: str | None
    bits: float
    shuffled_mean: float
    shuffled_spread: float
    shuffled_max: float
    possible: float

    @property
    def corrected(self):
        """Bits beyond chance.

        Where there is much to see, chance has less room than after a shuffle,
        so this is rather too low than too high.
        """
        return self.bits - self.shuffled_mean

    @property
    def share(self):
        """`corrected` as a fraction of all that can be known."""
        return self.corrected / self.possible if self.possible > 0 else 0.0

    @property
    def is_seen(self):
        """Whether the sample shows more than any of its shuffles."""
        return self.bits > self.shuffled_max


class Factor(NamedTuple):
    """Something that may have to do with the choice of experts.

    Attributes:
        name: str.
        values: int array `(U,)`, from 0. Its value in each unit. Units are
            what is shuffled: tokens, or sentences where all choices of a
            sentence have the same value and so are not independent.
        unit: int array `(A,)`. The unit of each choice.
        given_name: str or None. Name of what is known already.
        given: int array `(A,)`, from 0, or None. Its value at each choice.
        within: int array `(U,)`, from 0, or None. Units change places only
            with those of the same value here.
    """

    name: str
    values: Any
    unit: Any
    given_name: str | None = None
    given: Any = None
    within: Any = None


def measure_information(
    expert: np.ndarray,
    factor: Factor,
    shuffles: int = 20,
    seed: int = 0,
    possible: float | None = None,
) -> tuple[Information, np.ndarray]:
    """Measures the mutual information of expert and factor, beyond chance.

    Args:
        expert: int array `(A,)`, from 0. The expert of each choice.
        factor: `Factor`.
        shuffles: int. How often to shuffle, at least 2.
        seed: int. Seed of the shuffles.
        possible: float or None. See `Information`; None for the entropy of
            the expert.

    Returns:
        `Information`, and a float array with the contribution of each expert
        up to the last one chosen: `sum_v p(v | e) log2(p(v | e) / p(v))` where
        nothing is given, corrected in the same way. Their mean, weighted by
        load, is `corrected`.

    Raises:
        ValueError: If `shuffles` is below 2.

    Example:

    >>> # Tokens of two kinds; the kind decides the expert: 1 bit.
    >>> expert = np.array([0, 0, 1, 1] * 50)
    >>> kind = Factor("kind", values=expert, unit=np.arange(200))
    >>> found, by_expert = measure_information(expert, kind)
    >>> found.bits, found.is_seen, f"{found.shuffled_mean:.2f}"
    (1.0, True, '0.00')
    """
    if shuffles < 2:
        raise ValueError(
            "`shuffles` must be at least 2, or their spread is not known. "
            f"Received: shuffles={shuffles}"
        )
    random = np.random.default_rng(seed)
    measured_E = _bits_by_expert(expert, factor, factor.values)
    shuffled = np.stack(
        [
            _bits_by_expert(
                expert, factor, shuffle(factor.values, factor.within, random)
            )
            for _ in range(shuffles)
        ]
    )
    totals = shuffled.sum(axis=1)
    information = Information(
        name=factor.name,
        given=factor.given_name,
        bits=float(measured_E.sum()),
        shuffled_mean=float(totals.mean()),
        shuffled_spread=float(totals.std(ddof=1)),
        shuffled_max=float(totals.max()),
        possible=entropy(expert) if possible is None else float(possible),
    )
    load_E = np.bincount(expert) / len(expert)
    corrected_E = measured_E - shuffled.mean(axis=0)
    return information, corrected_E / np.where(load_E > 0, load_E, 1.0)


def _bits_by_expert(expert, factor, values_U):
    """Computes what each expert adds to the mutual information, `(E,)`."""
    nothing = np.zeros(len(expert), "int64")
    given = nothing if factor.given is None else factor.given
    bits_A = pointwise_information(expert, values_U[factor.unit], given)
    return np.bincount(expert, bits_A) / len(expert)  # sums to the mean


def pointwise_information(x, y, given):
    """Computes `log2(p(x, y | g) / (p(x | g) p(y | g)))` for each row.

    Its mean over the rows is the mutual information I(x; y | g) of the
    sample.

    Args:
        x, y, given: int arrays `(A,)`, from 0.

    Returns:
        float array `(A,)`.

    Example:

    >>> x, y = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> pointwise_information(x, y, np.zeros(4, "int64")).tolist()
    [0.0, 0.0, 0.0, 0.0]
    >>> pointwise_information(x, x, np.zeros(4, "int64")).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    return np.log2(_how_often(given, x, y) * _how_often(given)) - np.log2(
        _how_often(given, x) * _how_often(given, y)
    )


def entropy(*columns):
    """Computes the entropy of the rows of int arrays `(A,)`, in bits.

    Example:

    >>> entropy(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    2.0
    """
    if not len(columns[0]):
        return 0.0
    often_A = _how_often(*columns)
    return float(np.log2(len(often_A)) - np.log2(often_A).mean())


def shuffle(values, within, random):
    """Shuffles values `(U,)`, within groups `(U,)` if there are any.

    Example:

    >>> random = np.random.default_rng(0)
    >>> mixed = shuffle(np.arange(6), np.array([0, 1, 0, 1, 0, 1]), random)
    >>> sorted(mixed[::2].tolist()), sorted(mixed[1::2].tolist())
    ([0, 2, 4], [1, 3, 5])
    """
    if within is None:
        return random.permutation(values)
    places = np.argsort(within, kind="stable")
    order = np.lexsort((random.random(len(values)), within))
    shuffled = np.empty_like(values)
    shuffled[places] = values[order]
    return shuffled


def _how_often(*columns):
    """Counts how often the combination of each row occurs, float `(A,)`."""
    code = np.zeros(len(columns[0]), "int64")
    for column in columns:
        code = code * (int(column.max(initial=0)) + 1) + column
    if code.max(initial=0) < _TALLIED:
        return np.bincount(code)[code].astype("float64")
    _, code, counts = np.unique(code, return_inverse=True, return_counts=True)
    return counts[code].astype("float64")
