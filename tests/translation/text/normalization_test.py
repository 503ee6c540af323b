"""Normal forms are those of Unicode, in Python and in the graph."""

import sys
import unicodedata

import pytest
import tensorflow as tf
from awkward_texts import AWKWARD

from translation.text.normalization import normalized, normalized_strings

BROKEN = [b"e\xcc\x81\xff", b"\xe2\x82 e\xcc\x81", b"\xed\xa0\x80"]


@pytest.mark.parametrize("form", ["NFC", "NFKC", "none"])
def test_the_graph_agrees_with_python(form):
    texts = [*AWKWARD, "e\u0301\u0323", "ﬁ①Ａ", "각"]
    found = normalized_strings(tf.constant(texts), form)
    expected = [normalized(text, form) for text in texts]
    assert [text.decode() for text in found.numpy()] == expected


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
def test_the_graph_agrees_on_every_character_that_python_knows(form):
    codes = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    known = [chr(c) for c in codes if unicodedata.category(chr(c)) != "Cn"]
    found = normalized_strings(tf.constant(known), form).numpy()
    different = [
        c
        for c, text in zip(known, found, strict=True)
        if text != unicodedata.normalize(form, c).encode()
    ]
    assert different == []


def test_broken_bytes_are_replaced_and_the_rest_is_normalized():
    found = normalized_strings(tf.constant(BROKEN), "NFC").numpy().tolist()
    expected = [
        normalized(text.decode("utf-8", "replace"), "NFC").encode()
        for text in BROKEN
    ]
    assert found == expected
    assert found[0] == "é\ufffd".encode()
