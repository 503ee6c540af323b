"""Names of languages and of pairs of them, such as `en-fr` or `en-pt-BR`."""

import itertools
import re
from typing import NamedTuple

# The languages of the embedded phrasebook. Files may have any code.
PHRASEBOOK_LANGUAGES = {"en": "english", "fr": "french", "de": "german"}

# A tag of BCP 47: language, script, region, variants.
_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})"
    r"(?:[-_](?P<script>[a-z]{4}))?"
    r"(?:[-_](?P<region>[a-z]{2}|\d{3}))?"
    r"(?P<variants>(?:[-_][a-z\d]{5,8})*)",
    re.IGNORECASE,
)
# Regions that languages are often named with: they decide what en-pt-br is.
_USUAL_REGIONS = {
    "ar": "ae dz eg iq jo lb ma sa sy tn",
    "bn": "bd in",
    "ca": "es",
    "de": "at ch de",
    "en": "au ca gb ie in nz us za",
    "es": "ar cl co es mx pe us ve",
    "fa": "af ir",
    "fr": "be ca ch fr",
    "it": "ch it",
    "ko": "kp kr",
    "nl": "be nl",
    "pa": "in pk",
    "pt": "br pt",
    "ro": "md ro",
    "sr": "me rs",
    "sv": "fi se",
    "sw": "ke tz",
    "ta": "in lk",
    "ur": "in pk",
    "yue": "hk",
    "zh": "cn hk mo sg tw",
}


class LanguagePair(NamedTuple):
    """Source and target language, as tags such as `en`, `pt-BR`, `zh-Hant`.

    Both may be the same: paraphrases, or another spelling.
    """

    source: str
    target: str

    def __str__(self):
        return f"{self.source}-{self.target}"

    @property
    def suffixes(self):
        """Return the endings of the files of the two sides."""
        if self.source == self.target:
            return "source", "target"
        return self.source, self.target


def parse_pair(pair):
    """Reads a pair of language tags.

    Args:
        pair: str, or `LanguagePair`. Two tags with a hyphen between: `en-fr`
            translates English into French. A tag is a language of two or
            three letters, perhaps with a script, a region or variants behind
            hyphens or underscores: `zh_Hant-en`, `en-pt-BR`.

    Returns:
        A `LanguagePair`, its tags as BCP 47 writes them.

    Raises:
        ValueError: if `pair` is anything else, or can be read in two ways.

    Example:

    >>> parse_pair("en-fr").target
    'fr'
    >>> parse_pair("zh_CN-en"), parse_pair("en-pt-br")[1]
    (LanguagePair(source='zh-CN', target='en'), 'pt-BR')
    """
    if isinstance(pair, LanguagePair):
        return pair
    text = str(pair)
    readings = _readings(text.lower() if text.isupper() else text)
    if len(readings) > 1:
        readings = [r for r in readings if all(map(_is_usual, r))] or readings
    if not readings:
        raise ValueError(
            "`pair` must be two language tags joined by a hyphen, such as "
            "en-fr, en-pt_BR or zh_Hant-en; regions alone may be in upper "
            f"case. Received: pair={text!r}"
        )
    if len(readings) > 1:
        ways = " or ".join(
            "-".join(match[0].replace("-", "_") for match in reading)
            for reading in readings
        )
        raise ValueError(f"`pair` must be {ways}. Received: pair={text!r}")
    return LanguagePair(*map(_canonical, readings[0]))


def parse_tag(text):
    """Reads one language tag.

    Args:
        text: str. A language of two or three letters, perhaps with a script,
            a region or variants behind hyphens or underscores. Of letters'
            case only the language's counts: it is in lower case, unless all
            of the text is in upper case.

    Returns:
        The tag as BCP 47 writes it, or None if `text` is none.

    Example:

    >>> parse_tag("pt_br"), parse_tag("DE"), parse_tag("french")
    ('pt-BR', 'de', None)
    """
    text = text.lower() if text.isupper() else text
    match = _TAG.fullmatch(text)
    if match is None or match["language"].isupper():
        return None
    return _canonical(match)


def _readings(text):
    """Pairs of matches of `_TAG`, one for each hyphen that may divide them."""
    parts = text.split("-")
    sides = (
        ("-".join(parts[:i]), "-".join(parts[i:])) for i in range(1, len(parts))
    )
    matches = [tuple(map(_TAG.fullmatch, pair)) for pair in sides]
    return [
        pair
        for pair in matches
        if all(pair) and not any(tag["language"].isupper() for tag in pair)
    ]


def _is_usual(tag):
    region = (tag["region"] or "").lower()
    known = _USUAL_REGIONS.get(tag["language"].lower(), "").split()
    return not region or region.isdigit() or region in known


def _canonical(tag):
    parts = [
        tag["language"].lower(),
        (tag["script"] or "").title(),
        (tag["region"] or "").upper(),
        tag["variants"].lower().replace("_", "-").strip("-"),
    ]
    return "-".join(filter(None, parts))


def language_of(tag):
    """The language of a tag, without script, region and variants.

    Example:

    >>> language_of("pt-BR")
    'pt'
    """
    return tag.split("-")[0]


def script_of(tag):
    """The script of a tag, or nothing.

    Example:

    >>> script_of("zh-Hant-TW"), script_of("zh-TW")
    ('Hant', '')
    """
    return _TAG.fullmatch(tag)["script"] or ""


def spellings(suffix):
    """List how a file may write a suffix: with hyphens or underscores.

    Args:
        suffix: str. A tag, or another word.

    Returns:
        List of str, in the order in which they are looked for.

    Example:

    >>> spellings("pt-BR")
    ['pt-BR', 'pt_BR', 'pt-br', 'pt_br', 'PT-BR', 'PT_BR']
    """
    cases = (suffix, suffix.lower(), suffix.upper())
    both = itertools.chain.from_iterable(
        (c, c.replace("-", "_")) for c in cases
    )
    return list(dict.fromkeys(both))
