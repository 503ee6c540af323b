"""Pairs of language tags, however they are written."""

import pytest

from translation.text.languages import parse_pair, spellings


@pytest.mark.parametrize(
    "text, source, target",
    [
        ("en-fr", "en", "fr"),
        ("EN-FR", "en", "fr"),
        ("en-en", "en", "en"),
        ("eng-fra", "eng", "fra"),
        ("zh_CN-en", "zh-CN", "en"),
        ("en-zh_cn", "en", "zh-CN"),
        ("zh-Hant-en", "zh-Hant", "en"),
        ("zh-hans-zh-hant", "zh-Hans", "zh-Hant"),
        ("zh_Hant_TW-en", "zh-Hant-TW", "en"),
        ("eng_Latn-fra_Latn", "eng-Latn", "fra-Latn"),
        ("sr-latn-sr-cyrl", "sr-Latn", "sr-Cyrl"),
        ("en-es-419", "en", "es-419"),
        ("en-GB-en-US", "en-GB", "en-US"),
        ("ca_valencia-es", "ca-valencia", "es"),
        # A hyphen may divide the pair or a tag: case or use decides.
        ("en-pt-br", "en", "pt-BR"),
        ("EN-PT-BR", "en", "pt-BR"),
        ("pt-br-en", "pt-BR", "en"),
        ("pt-br-fr", "pt-BR", "fr"),
        ("pt-BR-fr", "pt-BR", "fr"),
        ("pt-br-FR", "pt", "br-FR"),
        ("zh-tw-de", "zh-TW", "de"),
        ("en-fr-ca", "en", "fr-CA"),
        ("en-fr_lu", "en", "fr-LU"),
    ],
)
def test_pairs(text, source, target):
    pair = parse_pair(text)
    assert pair == (source, target)
    assert parse_pair(str(pair)) == pair == parse_pair(pair)


@pytest.mark.parametrize(
    "text",
    [
        *("en", "", "-", "en-", "en_fr", "e-f", "en-f", "zh-Hant", "pt-BR"),
        *("en-fr-de-it-es", "en--fr", "en fr", "english-french", "12-en"),
    ],
)
def test_other_texts_are_no_pairs(text):
    with pytest.raises(ValueError, match="must be two language tags") as error:
        parse_pair(text)
    assert f"pair={text!r}" in str(error.value)


def test_what_can_be_read_in_two_ways_is_refused_with_both():
    with pytest.raises(ValueError, match="`pair` must be en-fr_lu or en_fr-lu"):
        parse_pair("en-fr-lu")


def test_spellings_of_files():
    assert spellings("en") == ["en", "EN"]
    assert "zh_hant" in spellings("zh-Hant")
