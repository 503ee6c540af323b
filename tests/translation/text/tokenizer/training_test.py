"""Vocabularies learned from text."""

import pytest
from awkward_texts import AWKWARD, SENTENCES

from translation.text.tokenizer.tokenizer import TokenizerError
from translation.text.tokenizer.training import train_tokenizer

each_type = pytest.mark.parametrize("kind", ["unigram", "bpe"])


@each_type
def test_special_ids_are_ours(kind):
    pieces = train_tokenizer(SENTENCES, 330, kind).pieces([0, 1, 2, 3])
    assert pieces == ["<pad>", "<s>", "</s>", "<unk>"]


@each_type
def test_the_same_text_gives_the_same_model(kind):
    first, again = (
        train_tokenizer(iter(SENTENCES), 330, kind) for _ in range(2)
    )
    assert again.model_proto == first.model_proto


@each_type
def test_a_small_corpus_bears_a_smaller_vocabulary(kind):
    tokenizer = train_tokenizer(["a tree"], 32_000, kind)
    assert 260 < tokenizer.vocab_size < 300
    assert tokenizer.decode(tokenizer.encode(AWKWARD)) == AWKWARD


@each_type
def test_a_vocabulary_too_small_says_what_it_needs(kind):
    # 256 bytes, 4 special ids, and the characters "▁", "a", "b", "c".
    with pytest.raises(TokenizerError, match="at least 264.*=100"):
        train_tokenizer(["abc"], 100, kind)
    assert train_tokenizer(["abc"], 264, kind).vocab_size == 264


def test_no_text_is_an_error():
    for sentences in ([], ["", ""]):
        with pytest.raises(TokenizerError, match="at least one"):
            train_tokenizer(sentences, 300)
    with pytest.raises(TokenizerError, match="4,192 bytes"):
        train_tokenizer(["long " * 1_000], 300)


def test_an_unknown_model_type_is_an_error():
    with pytest.raises(TokenizerError, match="unigram, bpe.*'word'"):
        train_tokenizer(SENTENCES, 300, "word")


def test_a_bounded_sample_is_read_evenly_and_seeded():
    words = [chr(ord("a") + i % 26) * 3 for i in range(2_600)]
    models = [
        train_tokenizer(iter(words), 300, input_sentence_size=80, seed=s)
        for s in (0, 0, 1)
    ]
    protos = [model.model_proto for model in models]
    assert protos[0] == protos[1] != protos[2]
    # 80 of 100 x 26 letters, from the end of the text as well as the
    # start: at least 20 letters have an entry of their own.
    assert models[0].vocab_size >= 260 + 1 + 20


def test_training_and_loading_are_silent(capfd):
    tokenizer = train_tokenizer(SENTENCES, 330)
    tokenizer.detokenize(tokenizer.tokenize(["a tree"]).to_tensor())
    assert capfd.readouterr() == ("", "")
