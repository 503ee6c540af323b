"""The directions of a model, however they are written."""

import pytest

from translation.text.directions import Directions, parse_directions
from translation.text.languages import parse_pair


@pytest.mark.parametrize(
    "text, canonical",
    [
        ("en-fr", "en-fr"),
        ("EN-FR", "en-fr"),
        ("en-pt-br", "en-pt-BR"),
        ("en-fr,fr-en,en-de", "en-fr,fr-en,en-de"),
        ("en-fr, fr-en", "en-fr,fr-en"),
        ("en-fr,de,es", "en-fr,en-de,en-es"),
        ("en-fr:both", "en-fr,fr-en"),
        ("en-fr,de,es:both", "en-fr,fr-en,en-de,de-en,en-es,es-en"),
        ("en-fr:both,de", "en-fr,fr-en,en-de"),
        ("en-fr,de:both,es", "en-fr,en-de,de-en,en-es"),
        # Both of either: four names of two directions.
        ("en-fr,fr-en:both", "en-fr,fr-en"),
        # A tag alone may have a script or a region.
        ("en-zh_CN,pt-BR,sr_Latn", "en-zh-CN,en-pt-BR,en-sr-Latn"),
        ("EN-FR,DE,PT_BR", "en-fr,en-de,en-pt-BR"),
        # ... but in lower case with a hyphen it is a pair, as elsewhere.
        ("en-fr,sv-fi", "en-fr,sv-fi"),
        ("en-zh-tw,nl", "en-zh-TW,en-nl"),
        ("en-en,fr", "en-en,en-fr"),
    ],
)
def test_directions(text, canonical):
    directions = parse_directions(text)
    assert str(directions) == canonical
    assert parse_directions(canonical) == directions
    assert parse_directions(directions) is directions


@pytest.mark.parametrize(
    "text, received",
    [
        ("", "pair=''"),
        ("en", "pair='en'"),
        ("en-fr,", "'' in pair='en-fr,'"),
        ("en-fr,french", "'french' in pair='en-fr,french'"),
        ("en-fr;de-en", "pair='en-fr;de-en'"),
        ("en-fr:all", "pair='en-fr:all'"),
        ("fr,en-de", "pair='fr'"),
    ],
)
def test_other_texts_name_no_directions(text, received):
    with pytest.raises(ValueError, match="must be two language tags") as error:
        parse_directions(text)
    assert received in str(error.value)


def test_a_direction_twice_is_refused():
    with pytest.raises(ValueError, match="en-fr is there twice"):
        parse_directions("en-fr,de,fr")


def test_languages_of_directions():
    directions = parse_directions("en-fr,de-en,en-de")
    assert directions.sources == ("en", "de")
    assert directions.targets == ("fr", "en", "de")
    assert directions.languages == ("en", "fr", "de")


@pytest.mark.parametrize(
    "text, tokens",
    [("en-fr", ()), ("en-fr,de-fr", ()), ("en-fr,fr-en", ("fr", "en"))],
)
def test_tokens_are_for_several_target_languages(text, tokens):
    assert parse_directions(text).target_tokens == tokens


def test_a_pair_is_one_direction():
    directions = parse_directions(parse_pair("en-fr"))
    assert directions == Directions([("en", "fr")])
    assert directions.is_one
