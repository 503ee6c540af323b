"""A text is blank where Unicode has nothing to show."""

import sys
import unicodedata

import pytest
import tensorflow as tf

from translation.text.blanks import are_blank, is_blank

BLANKS = [
    *("", " ", "\t \v\f\r\n", "\0"),
    *("\u00a0", "\u3000", "\u200b", "\ufeff", "\u2028", "\u0085", "\u00ad"),
    *("\u2003", "\u200e", "\u2029", "\u202f", "\u2060", "\u180e", "\u3164"),
    *("\ufe0f", "\U000e0041", " \u3000\u200d\u00a0"),
]
SEEN = [".", "\u00a0a", "\u3002", "\ufffd", "\u0301", "\ue000", "\U0001f600"]


def test_blank_and_seen_in_python_and_in_the_graph():
    texts = [*BLANKS, *SEEN]
    expected = [True] * len(BLANKS) + [False] * len(SEEN)
    assert [is_blank(text) for text in texts] == expected
    assert are_blank(tf.constant(texts)).numpy().tolist() == expected


def test_every_separator_control_and_format_character_is_blank():
    categories = ("Zs", "Zl", "Zp", "Cc", "Cf")
    everything = [chr(code) for code in range(sys.maxunicode + 1)]
    seen = [
        hex(ord(c))
        for c in everything
        if unicodedata.category(c) in categories and not is_blank(c)
    ]
    assert seen == []
    # And nothing that is a letter, a number or punctuation but the fillers
    # of Hangul, which have no shape.
    letters = [
        hex(ord(c))
        for c in everything
        if unicodedata.category(c)[0] in "LNP" and is_blank(c)
    ]
    assert letters == ["0x115f", "0x1160", "0x3164", "0xffa0"]


def test_python_and_graph_agree_on_every_code_point():
    codes = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    strings = tf.strings.unicode_encode(tf.constant(codes)[:, None], "UTF-8")
    expected = [is_blank(chr(code)) for code in codes]
    assert are_blank(strings).numpy().tolist() == expected


@pytest.mark.parametrize("broken", [b"\xff", b" \xe3\x80", b"\xc2"])
def test_bytes_that_are_not_utf8_are_seen(broken):
    assert not are_blank(tf.constant([broken])).numpy()[0]
    assert not is_blank(broken.decode("utf-8", "replace"))
