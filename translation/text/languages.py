"""Names of languages and of pairs of them, such as `en-fr`."""

import re
from typing import NamedTuple

# The languages of the embedded phrasebook. Files may have any code.
PHRASEBOOK_LANGUAGES = {"en": "english", "fr": "french", "de": "german"}

_PAIR = re.compile(r"([a-z]{2,3})-([a-z]{2,3})")


class LanguagePair(NamedTuple):
    """From which language to which, as codes such as `en` and `fr`."""

    source: str
    target: str

    def __str__(self):
        return f"{self.source}-{self.target}"


def parse_pair(pair):
    """Reads a pair of language codes.

    Args:
        pair: str. Two different codes of two or three small letters with a
            hyphen between: `en-fr` translates English into French.

    Returns:
        A `LanguagePair`.

    Raises:
        ValueError: if `pair` is anything else.

    Example:

    >>> parse_pair("en-fr").target
    'fr'
    """
    match = _PAIR.fullmatch(str(pair))
    if match is None or match[1] == match[2]:
        raise ValueError(
            "`pair` must be two different language codes joined by a "
            f"hyphen, such as en-fr. Received: pair={pair!r}"
        )
    return LanguagePair(match[1], match[2])
