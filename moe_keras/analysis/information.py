"""How much a choice of experts tells of something, against chance.

A: choices    U: units that are shuffled    E: experts
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

# Beyond as many possible combinations rows are sorted instead of tallied.
_TALLIED = 20_000_000


@dataclasses.dataclass(frozen=True)
class Information:
    """Mutual information of the expert and something else, in bits.

    A sample always shows some, also where there is none: values that are
    rare meet few experts by chance. So the values are shuffled, several
    times, and what is left then is what this sample shows by chance.

    Attributes:
        name: str. What the expert tells of.
        given: str or None. What is known already.
        bits: float. What the sample shows.
        shuffled_mean: float. What it shows after a shuffle, in the mean.
        shuffled_spread: float. Standard deviation of that.
        shuffled_max: float. The most of any shuffle.
        possible: float. What is to be known of the expert of a choice:
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
        """Bits without those that chance shows. Where there is much to see,
        chance has less room than after a shuffle, and this is too low rather
        than too high."""
        return self.bits - self.shuffled_mean

    @property
    def share(self):
        """`corrected` over all that is to be known of the expert."""
        return self.corrected / self.possible if self.possible > 0 else 0.0

    @property
    def is_seen(self):
        """Whether it is more than any of the shuffles showed."""
        return self.bits > self.shuffled_max


class Factor(NamedTuple):
    """Something that may have to do with the choice of experts.

    Attributes:
        name: str.
        values: int array `(U,)`, from 0. Its value in each unit; units are
            what is shuffled. Tokens, or, where all choices of a sentence
            share a value and are not independent of each other, sentences.
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


def measure_information(expert, factor, shuffles=20, seed=0, possible=None):
    """Mutual information of expert and factor, and the same by chance.

    Args:
        expert: int array `(A,)`, from 0. The expert of each choice.
        factor: `Factor`.
        shuffles: int. How often to shuffle, at least 2.
        seed: int. Seed of the shuffles.
        possible: float or None. See `Information`; None for the entropy of
            the expert.

    Returns:
        `Information`, and a float array with an entry for each expert up to
        the last one chosen: its part, `sum_v p(v | e) log2(p(v | e) / p(v))`
        where nothing is given, corrected in the same way. The mean of these,
        weighed by load, is `corrected`.

    Raises:
        ValueError: if `shuffles` is below 2.

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
    """What each expert adds to the mutual information, `(E,)`."""
    nothing = np.zeros(len(expert), "int64")
    given = nothing if factor.given is None else factor.given
    bits_A = pointwise_information(expert, values_U[factor.unit], given)
    return np.bincount(expert, bits_A) / len(expert)  # sums to the mean


def pointwise_information(x, y, given):
    """log2 of `p(x, y | g) / (p(x | g) p(y | g))` for each row.

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
    """Entropy in bits of the combinations of values in int arrays `(A,)`.

    Example:

    >>> entropy(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    2.0
    """
    if not len(columns[0]):
        return 0.0
    often_A = _how_often(*columns)
    return float(np.log2(len(often_A)) - np.log2(often_A).mean())


def shuffle(values, within, random):
    """Values `(U,)` in random order, each within its group `(U,)` if any.

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
    """How often the combination of each row occurs, a float array `(A,)`."""
    code = np.zeros(len(columns[0]), "int64")
    for column in columns:
        code = code * (int(column.max(initial=0)) + 1) + column
    if code.max(initial=0) < _TALLIED:
        return np.bincount(code)[code].astype("float64")
    _, code, counts = np.unique(code, return_inverse=True, return_counts=True)
    return counts[code].astype("float64")
