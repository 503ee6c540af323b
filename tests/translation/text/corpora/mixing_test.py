"""Shares of directions, by temperature or by weights."""

import pytest

from translation.text.corpora.mixing import Mixing, parse_mixing

SIZES = {"en-fr": 800, "fr-en": 100}


@pytest.mark.parametrize(
    "text, shares",
    [
        ("proportional", [8 / 9, 1 / 9]),
        ("1", [8 / 9, 1 / 9]),
        # The cube root of 800 to that of 100 is as 2 to 1.
        ("3", [2 / 3, 1 / 3]),
        ("equal", [1 / 2, 1 / 2]),
        ("inf", [1 / 2, 1 / 2]),
        ("en-fr=1,fr-en=3", [1 / 4, 3 / 4]),
        (" fr-en = 3 , EN-FR = 1", [1 / 4, 3 / 4]),
    ],
)
def test_shares(text, shares):
    found = parse_mixing(text, "en-fr,fr-en").shares(SIZES)
    assert list(found) == ["en-fr", "fr-en"]
    assert list(found.values()) == pytest.approx(shares)


@pytest.mark.parametrize(
    "text, error",
    [
        ("0.5", "a temperature of at least 1"),
        ("nan", "a temperature of at least 1"),
        ("warm", "Received: mixing='warm'"),
        ("en-fr=1", "lacks fr-en"),
        ("en-fr=1,fr-en=1,en-de=1", "has en-de"),
        ("en-fr=1,fr-en=0", "'fr-en=0'"),
        ("en-fr=1,fr-en=inf", "'fr-en=inf'"),
        ("en-fr=1,en-fr=2", "'en-fr=2'"),
    ],
)
def test_other_rules_are_refused(text, error):
    with pytest.raises(ValueError, match=error):
        parse_mixing(text, "en-fr,fr-en")


def test_very_unlike_sizes_have_shares():
    shares = Mixing(1.0).shares({"en-fr": 10**9, "en-ko": 1})
    assert 0 < shares["en-ko"] < 1e-8
