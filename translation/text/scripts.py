"""Scripts: whether a text is written in the letters of its language."""

import functools
import re
import unicodedata

import numpy as np

from translation.text.languages import language_of, script_of
from translation.text.text_files import CorpusError

# Languages by the first word of the Unicode names of their letters.
_LANGUAGES = {
    "LATIN": (
        "af az bs ca cs cy da de en es et eu fi fo fr ga gl ha hr ht hu id is "
        "it lb lt lv mg ms mt nb nl nn no pl pt ro sk sl so sq sr sv sw tl tr "
        "uz vi xh yo zu"
    ),
    "CYRILLIC": "be bg kk ky mk mn ru sr tg tt uk",
    "GREEK": "el",
    "ARABIC": "ar fa ps sd ug ur",
    "HEBREW": "he yi",
    "ARMENIAN": "hy",
    "GEORGIAN": "ka",
    "DEVANAGARI": "hi mr ne sa",
    "BENGALI": "as bn",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "ETHIOPIC": "am ti",
    "HANGUL": "ko",
    "CJK": "ja zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
}
# The same of scripts as tags have them (ISO 15924).
_SCRIPTS = {
    "Arab": "ARABIC",
    "Armn": "ARMENIAN",
    "Beng": "BENGALI",
    "Cyrl": "CYRILLIC",
    "Deva": "DEVANAGARI",
    "Ethi": "ETHIOPIC",
    "Geor": "GEORGIAN",
    "Grek": "GREEK",
    "Gujr": "GUJARATI",
    "Guru": "GURMUKHI",
    "Hang": "HANGUL",
    "Hans": "CJK",
    "Hant": "CJK",
    "Hebr": "HEBREW",
    "Hira": "HIRAGANA",
    "Jpan": "CJK HIRAGANA KATAKANA",
    "Kana": "KATAKANA",
    "Khmr": "KHMER",
    "Knda": "KANNADA",
    "Kore": "HANGUL CJK",
    "Laoo": "LAO",
    "Latn": "LATIN",
    "Mlym": "MALAYALAM",
    "Mymr": "MYANMAR",
    "Sinh": "SINHALA",
    "Taml": "TAMIL",
    "Telu": "TELUGU",
    "Thai": "THAI",
    "Tibt": "TIBETAN",
}
# First words of the names of letters that belong to no script, or to several.
_OF_NO_SCRIPT = frozenset(
    (
        "ALEF ANGSTROM BET BLACK-LETTER CARON DALET DOUBLE-STRUCK EULER "
        "FEMININE GIMEL IDEOGRAPHIC INFORMATION KATAKANA-HIRAGANA KELVIN "
        "MASCULINE MASU MATHEMATICAL MICRO MODIFIER OHM PLANCK ROMAN SCRIPT "
        "SUPERSCRIPT TURNED VEDIC VERTICAL"
    ).split()
)
# All letters before this are Latin: Basic Latin up to Latin Extended-B.
_BEYOND_LATIN = re.compile("[^\x00-\u024f]")


def scripts_of(tag):
    """The scripts that a language is written in.

    Args:
        tag: str. A language such as `fr`, perhaps with its script, which
            decides, or a region: `sr-Latn`, `pt-BR`.

    Returns:
        frozenset of str, first words of Unicode names: `{"LATIN"}`.

    Raises:
        CorpusError: if it is not known.

    Example:

    >>> sorted(scripts_of("ja"))
    ['CJK', 'HIRAGANA', 'KATAKANA']
    """
    language, script = language_of(tag), script_of(tag)
    if script in _SCRIPTS:
        return frozenset(_SCRIPTS[script].split())
    scripts = [
        s for s, codes in _LANGUAGES.items() if language in codes.split()
    ]
    if not scripts:
        known = " ".join(_LANGUAGES.values()).split()
        raise CorpusError(
            f"`min_script_share` needs the script of {tag!r}, which is "
            f"not known; leave it at 0. Known: {', '.join(sorted({*known}))}"
        )
    return frozenset(scripts)


def script_share(text, scripts):
    """Fraction of the letters of a text that belong to some scripts.

    Digits, signs, marks and letters of no script, such as mathematical ones,
    do not count.

    Args:
        text: str.
        scripts: frozenset of str, as `scripts_of` gives.

    Returns:
        float between 0 and 1; 1 if there are no letters.

    Example:

    >>> script_share("Москва is big", scripts_of("en"))
    0.45454545454545453
    """
    found = [script for script in map(_script, text) if script]
    if not found:
        return 1.0
    return sum(script in scripts for script in found) / len(found)


def is_foreign(texts, scripts, fraction):
    """Whether too few of the letters of each text belong to some scripts.

    The same as comparing `script_share` of each text, but faster: it is called
    only for texts with a letter of another script.

    Args:
        texts: list of N str.
        scripts: frozenset of str.
        fraction: float between 0 and 1.

    Returns:
        bool array `(N,)`.
    """
    places = range(len(texts))
    if "LATIN" in scripts:
        has_beyond = _BEYOND_LATIN.search
        places = [
            i for i in places if not texts[i].isascii() and has_beyond(texts[i])
        ]
    characters = set("".join([texts[i] for i in places]))
    others = [c for c in characters if _script(c) not in {"", *scripts}]
    is_foreign_N = np.zeros(len(texts), bool)
    if others:
        has_other = re.compile(f"[{re.escape(''.join(others))}]").search
        for i in places:
            if has_other(texts[i]):
                is_foreign_N[i] = script_share(texts[i], scripts) < fraction
    return is_foreign_N


@functools.cache
def _script(character):
    """The script of a letter, or nothing."""
    if not character.isalpha():
        return ""
    # Python has no names for a few letters, all of one old script.
    words = unicodedata.name(character, "TANGUT").split(" ")
    is_wide = words[0] in ("FULLWIDTH", "HALFWIDTH")
    script = words[is_wide]
    return "" if script in _OF_NO_SCRIPT else script
