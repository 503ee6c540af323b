"""Long texts are found, and cut where a reader would."""

import time

import pytest

from translation.text.long_texts import longer_than, parts_of
from translation.text.tokenizer.training import train_tokenizer


def at_most(limit):
    return lambda part: len(part) <= limit


@pytest.mark.parametrize(
    "text, limit, parts",
    [
        (
            "First. Two! Three? Four...",
            9,
            ["First.", "Two!", "Three?", "Four..."],
        ),
        ('He said "No!" Then he left.', 14, ['He said "No!"', "Then he left."]),
        # No sentence ends before a small letter, or behind a short word with
        # a capital or a number.
        ("We met e.g. him. He saw it.", 99, ["We met e.g. him.", "He saw it."]),
        ("Mr. Fox saw Dr. J. Cat.", 99, ["Mr. Fox saw Dr. J. Cat."]),
        ("On the 3. We sang it.", 99, ["On the 3. We sang it."]),
        # Clauses, then words, then characters.
        ("First this, then that.", 12, ["First this,", "then that."]),
        ("a, b, c, d, e, f.", 9, ["a, b, c,", "d, e, f."]),
        ("one two three four", 9, ["one two", "three", "four"]),
        ("abcdefg", 3, ["abc", "def", "g"]),
        ("ab e\u0301e\u0301", 2, ["ab", "e\u0301", "e\u0301"]),
        # Languages without spaces.
        ("今天很好。明天也好！", 99, ["今天很好。", "明天也好！"]),
        ("今天很好，明天", 5, ["今天很好，", "明天"]),
        ("क ख। ग घ।", 5, ["क ख।", "ग घ।"]),
        ("ab", 0, ["a", "b"]),
        ("  ", 5, []),
        ("", 5, []),
    ],
)
def test_parts(text, limit, parts):
    assert parts_of(text, at_most(limit)) == parts


def test_nothing_is_lost_and_parts_of_a_sentence_are_long():
    words = [f"w{i}{',' * (i % 7 == 0)}" for i in range(500)]
    parts = parts_of(" ".join(words), at_most(60))
    assert " ".join(parts).split() == words
    assert max(map(len, parts)) <= 60
    # No two neighbours would fit together.
    for a, b in zip(parts, parts[1:], strict=False):
        assert len(f"{a} {b}") > 60


@pytest.mark.parametrize("text", ["word ", "x", "a.b", "One. ", "Mr. "])
def test_time_is_linear(text):
    start = time.process_time()
    parts_of(text * 50_000, at_most(200))
    assert time.process_time() - start < 3


def test_sizes_count_the_end_mark_and_short_texts_are_passed_over():
    tokenizer = train_tokenizer(["a b c"], 280, normalization="NFC")
    texts = ["a", "b b b", "\U0001f600", "", "\ud800", "c" * 20]
    sizes = [
        len(ids) + 1
        for ids in tokenizer.encode(
            [text.encode("utf-8", "replace").decode() for text in texts]
        )
    ]
    for limit in range(2, 12):
        expected = {i: n for i, n in enumerate(sizes) if n > limit}
        assert longer_than(limit, texts, tokenizer) == expected
