"""How much of the training each direction of a multilingual model gets.

A direction with n pairs is drawn with a probability proportional to
n^(1 / T): T = 1 follows the sizes, larger temperatures favour directions with
few pairs, and an infinite one makes all equal (Arivazhagan et al. 2019,
arXiv:1907.05019).
"""

import dataclasses
import math

from translation.text.directions import parse_directions
from translation.text.languages import parse_pair

_NAMED = {"proportional": 1.0, "equal": math.inf}


@dataclasses.dataclass(frozen=True)
class Mixing:
    """A rule for the shares of directions; see `parse_mixing`."""

    temperature: float = 1.0
    # Pairs of a direction and its weight, in place of the temperature.
    weights: tuple = ()

    def shares(self, sizes):
        """Computes the share of each direction.

        Args:
            sizes: dict of the number of sentence pairs by direction.

        Returns:
            dict of floats by direction; they sum to 1.

        Example:

        >>> Mixing(temperature=2.0).shares({"en-fr": 900, "en-ko": 100})
        {'en-fr': 0.75, 'en-ko': 0.25}
        """
        if self.weights:
            parts = dict(self.weights)
        else:
            most = max(sizes.values())  # so that no power is too large
            parts = {
                direction: (size / most) ** (1 / self.temperature)
                for direction, size in sizes.items()
            }
        total = sum(parts[direction] for direction in sizes)
        return {direction: parts[direction] / total for direction in sizes}


def parse_mixing(text, pair):
    """Reads how directions are mixed.

    Args:
        text: str. `proportional`; `equal`; a temperature of at least 1 or
            `inf`, as `5`; or a weight above 0 for each direction, as
            `en-fr=3,fr-en=1`.
        pair: The directions, see `parse_directions`.

    Returns:
        `Mixing`.

    Raises:
        ValueError: if it is anything else.

    Example:

    >>> parse_mixing("5", "en-fr:both").temperature
    5.0
    >>> parse_mixing("en-fr=3,fr-en=1", "en-fr:both").shares(
    ...     {"en-fr": 10, "fr-en": 10})
    {'en-fr': 0.75, 'fr-en': 0.25}
    """
    text = text.strip()
    if text in _NAMED:
        return Mixing(_NAMED[text])
    if "=" in text:
        weights = parse_weights("mixing", text, pair)
        return Mixing(weights=tuple(weights.items()))
    temperature = _number(text)
    if temperature is None or not temperature >= 1:
        raise ValueError(
            "`mixing` must be proportional, equal, a temperature of at least "
            "1 (inf for equal shares), or weights as en-fr=3,fr-en=1. "
            f"Received: mixing={text!r}"
        )
    return Mixing(temperature)


def parse_weights(name, text, pair):
    """Reads a weight for each direction, as `en-fr=3,fr-en=1`.

    Args:
        name: str, of the field, for the error.
        text: str.
        pair: The directions, see `parse_directions`.

    Returns:
        dict of floats by direction, in the order of `pair`.

    Raises:
        ValueError: if one is missing, unknown or no number above 0.
    """
    found = {}
    for entry in text.split(","):
        direction, _, value = entry.partition("=")
        direction, weight = str(parse_pair(direction.strip())), _number(value)
        is_weight = weight is not None and 0 < weight < math.inf
        if not is_weight or direction in found:
            raise ValueError(
                f"`{name}` must have one number above 0 for each direction, "
                f"as en-fr=3,fr-en=1. Received: {entry.strip()!r} in "
                f"{name}={text!r}"
            )
        found[direction] = weight
    names = [str(direction) for direction in parse_directions(pair)]
    if {*found} != {*names}:
        missing = [x for x in names if x not in found]
        unknown = [x for x in found if x not in names]
        what = [f"lacks {', '.join(missing)}"] * bool(missing)
        what += [f"has {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(
            f"`{name}` must have a weight for each direction of the model, "
            f"{', '.join(names)}, and for no other; it {' and '.join(what)}. "
            f"Received: {name}={text!r}"
        )
    return {direction: found[direction] for direction in names}


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None
