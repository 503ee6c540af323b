"""Settings given as text: read as the type that takes them, or refused."""

import types

import pytest

from moe_keras.settings import read_value

WORDS = (tuple[str, ...],)


@pytest.mark.parametrize("text", ["a,b", "a, b", "('a', 'b')", '("a","b")'])
def test_words_are_read_as_people_write_them_and_as_they_are_printed(text):
    assert read_value("`x`", text, WORDS) == ("a", "b")


@pytest.mark.parametrize("text", ["a", "a,", "('a',)"])
def test_single_word_becomes_a_tuple(text):
    assert read_value("`x`", text, WORDS) == ("a",)


@pytest.mark.parametrize("text", ["", "a,,b", ",a", "()"])
def test_missing_word_is_a_clear_error(text):
    with pytest.raises(ValueError, match="`x` takes words with commas between"):
        read_value("`x`", text, WORDS)


def test_none_is_a_value_where_it_may_be():
    kinds = (tuple[str, ...], types.NoneType)
    assert read_value("`x`", "None", kinds) is None
    assert read_value("`x`", "None", WORDS) == ("None",)
