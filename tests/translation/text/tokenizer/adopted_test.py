"""Models from elsewhere give the same pieces, and ids that we know."""

import io

import pytest
import sentencepiece
import tensorflow as tf

from translation.text.tokenizer.adopted import adopt_tokenizer
from translation.text.tokenizer.tokenizer import TokenizerError
from translation.text.tokenizer.training import train_tokenizer

SENTENCES = [
    "the old man sees the green garden",
    "the green man sees an old house",
    "ein alter Mann sieht den grünen Garten",
    "der grüne Garten ist alt",
] * 5
TEXTS = ["the green house", "ein Mann der sieht", "the old grüne Garten"]


def foreign(path, **options):
    """A model that SentencePiece trains as it does unless told otherwise."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=2,
        **{"vocab_size": 60, **options},
    )
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model_type": "bpe"},
        {"byte_fallback": True, "vocab_size": 320},
        {"pad_id": 3, "user_defined_symbols": ["<2fr>"]},
        {"unk_id": 3, "bos_id": -1, "pad_id": 0, "eos_id": 1},
    ],
)
def test_the_same_pieces_as_the_model_itself(tmp_path, options):
    path = tmp_path / "foreign.model"
    original = foreign(path, **options)
    tokenizer = adopt_tokenizer(path)
    own = sentencepiece.SentencePieceProcessor(
        model_proto=tokenizer.model_proto
    )
    for text, ids in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert own.id_to_piece(ids) == original.encode(text, out_type=str)
    in_graph = tokenizer.tokenize(tf.constant(TEXTS))
    assert in_graph.to_list() == tokenizer.encode(TEXTS)
    assert tokenizer.decode(in_graph.to_list()) == TEXTS


def test_unknown_characters_are_spelled_in_bytes(tmp_path):
    original = foreign(tmp_path / "foreign.model")
    tokenizer = adopt_tokenizer(tmp_path / "foreign.model")
    texts = ["樹 and  ξ", " old ", "x 1️⃣"]
    ids = tokenizer.encode(texts)
    assert tokenizer.decode(ids) == texts
    assert all(tokenizer.unk_id not in row for row in ids)
    # Three of its own are special; ours and the bytes are 260.
    assert tokenizer.vocab_size == original.vocab_size() - 3 + 260


def test_ours_is_taken_as_it_is(tmp_path):
    ours = train_tokenizer(SENTENCES, 300)
    ours.save(tmp_path / "ours.model")
    assert adopt_tokenizer(tmp_path / "ours.model").model_proto == (
        ours.model_proto
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: None, "Cannot read a tokenizer from .*x.model: No such"),
        (lambda path: path.write_bytes(b"junk"), "x.model is not a Sentence"),
        (lambda path: path.write_bytes(b""), "x.model is not a Sentence"),
        (
            lambda path: foreign(path, model_type="char"),
            "x.model must be a unigram or bpe.*model_type=char",
        ),
    ],
)
def test_errors_are_one_line(tmp_path, make, message):
    make(tmp_path / "x.model")
    with pytest.raises(TokenizerError, match=message) as error:
        adopt_tokenizer(tmp_path / "x.model")
    assert "\n" not in str(error.value)


def test_normal_form_comes_before_the_rules_of_the_model(tmp_path):
    path = tmp_path / "foreign.model"
    foreign(path)
    tokenizer = adopt_tokenizer(path)
    assert tokenizer.normalization == "NFC"
    assert tokenizer.encode(["gru\u0308n"]) == tokenizer.encode(["grün"])
    assert adopt_tokenizer(path, "none").normalization == "none"
    own = train_tokenizer(SENTENCES, 300, normalization="NFKC")
    own.save(path)
    assert adopt_tokenizer(path).model_proto == own.model_proto
    assert adopt_tokenizer(path, "NFC").normalization == "NFC"
