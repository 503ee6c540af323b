"""Characters that a vocabulary lacks are counted, and no others."""

import pytest

from translation.text.tokenizer.coverage import coverage
from translation.text.tokenizer.training import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a dog sleeps", "le chien dort"], 290)


def test_text_of_known_characters_lacks_nothing(tokenizer):
    texts = ["the dog", "", " dog  le "]
    assert coverage(tokenizer, texts) == (7 + 0 + 9, {})


def test_characters_side_by_side_are_told_apart(tokenizer):
    # Of 1, 2, 3 and 4 bytes in UTF-8.
    found = coverage(tokenizer, ["a ?é老😀 dog", "é"])
    assert found.lacking == {"?": 1, "é": 2, "老": 1, "😀": 1}
    assert found.characters == 10 + 1
