"""Links between words, worked by hand."""

import numpy as np

from translation.search.word_alignment import pharaoh, word_links, words_of
from translation.text.tokenizer.training import train_tokenizer


def test_subwords_of_a_word_count_together():
    source = ["▁a", "▁gr", "een", "▁tree", "</s>"]
    target = ["▁un", "▁arb", "re", "▁vert", "</s>"]
    attention = [
        [0.6, 0.1, 0.1, 0.1, 0.1],  # un: a
        [0.3, 0.1, 0.1, 0.2, 0.3],  # arbre: a 0.5, green 0.4, tree 0.9
        [0.2, 0.1, 0.1, 0.7, 0.0],
        [0.3, 0.2, 0.2, 0.2, 0.1],  # vert: a 0.3, green 0.4, tree 0.2
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
    links = word_links(source, target, attention)
    assert links == [(0, 0), (2, 1), (1, 2)]
    assert pharaoh(links) == "0-0 2-1 1-2"


def test_end_mark_is_no_word_even_where_all_look_at_it():
    attention = [[0.1, 0.9], [0.0, 1.0]]
    assert word_links(["▁oh", "</s>"], ["▁ah", "</s>"], attention) == [(0, 0)]


def test_nothing_links_to_nothing():
    assert word_links([], [], []) == []
    assert word_links(["</s>"], ["▁oh", "</s>"], np.ones((2, 1))) == []
    assert word_links(["▁oh", "</s>"], ["</s>"], np.ones((1, 2))) == []
    assert pharaoh([]) == ""


def test_words_are_those_that_spaces_separate_in_any_text():
    texts = ["a  green, tree ", " x", "樹 a\tb Bäume", "  ", "", "\u2581 a"]
    tokenizer = train_tokenizer(["a green tree", "un arbre vert"], 280)
    for text in texts:
        pieces = tokenizer.pieces([*tokenizer.encode([text])[0], 2])
        words = {word for found in words_of(pieces) for word in found}
        expected = [word for word in text.split(" ") if word]
        assert words == set(range(len(expected)))


def test_each_character_of_a_script_without_spaces_is_a_word():
    texts = {
        "犬が 眠る。": 5,
        "CPUを2個": 4,  # CPU, を, 2, 個
        "สวัสดี": 4,  # marks go with the letter before them
        "が": 1,  # か and a combining mark
        "개가 잔다": 2,  # Korean has spaces
    }
    tokenizer = train_tokenizer(["a green tree", "犬が眠る。"], 290)
    for text, count in texts.items():  # most of it is spelled in bytes
        pieces = tokenizer.pieces([*tokenizer.encode([text])[0], 2])
        words = {word for found in words_of(pieces) for word in found}
        assert words == set(range(count)), text


def test_words_of_one_subword_share_its_attention():
    source = ["▁dog", "▁sleeps", "</s>"]
    target = ["▁犬が", "眠", "る", "</s>"]
    attention = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0, 0, 1]]
    links = word_links(source, target, attention)
    assert links == [(0, 0), (0, 1), (1, 2), (1, 3)]
    # The other way round dog looks at 犬 and が alike: the first is taken.
    back = np.transpose(attention)
    assert word_links(target, source, back) == [(0, 0), (2, 1)]


def test_nothing_links_to_a_target_language():
    source = ["<2fr>", "▁a", "▁dog", "</s>"]
    attention = [[0.9, 0.06, 0.04, 0.0], [0.7, 0.1, 0.2, 0.0]]
    links = word_links(source, ["▁un", "▁chien"], attention, {"<2fr>", "</s>"})
    assert links == [(0, 0), (1, 1)]
