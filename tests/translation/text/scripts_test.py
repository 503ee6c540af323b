"""Letters of a language's script are told from others."""

import pytest

from translation.text.scripts import is_foreign, script_share, scripts_of
from translation.text.text_files import CorpusError


@pytest.mark.parametrize(
    "language, text, share",
    [
        ("fr", "Où est l'été ? ½ 12 µm", 1.0),
        ("en", "Москва", 0.0),
        ("en", "ab вг", 0.5),
        ("en", "three 樹", 5 / 6),
        ("ru", "ab вг", 0.5),
        ("ru", "Привет, мир!", 1.0),
        ("zh", "樹是綠色的。", 1.0),
        ("ja", "木はグリーンです", 1.0),
        ("zh", "木は", 0.5),
        ("sr", "ab вг", 1.0),
        ("en", "ｗｉｄｅ", 1.0),
        ("en", "12 + 3 😀", 1.0),
        ("en", "བོད་ཡིག", 0.0),
        ("en", "ᏣᎳᎩ", 0.0),
        ("en", "abc ᏣᎳᎩ", 0.5),
        ("fr", "ⵜⴰⵎⴰ oui", 3 / 7),
        ("en", "let x ∈ ℝ, 2 ª, 5 k\u2126", 1.0),
        ("ja", "ｶﾀｶﾅ 人々", 1.0),
        ("en", "", 1.0),
    ],
)
def test_share_worked_by_hand(language, text, share):
    scripts = scripts_of(language)
    assert script_share(text, scripts) == pytest.approx(share)
    # Both sides of the threshold, and beside texts without a fault.
    for least, is_below in ((share, False), (share + 0.001, share < 1)):
        texts = ["1.", text, "樹ab" * (language == "sr")]
        assert is_foreign(texts, scripts, least)[1] == is_below


def test_an_unknown_language_is_an_error():
    with pytest.raises(CorpusError, match="script of 'xx'.*Known: af, am"):
        scripts_of("xx")
