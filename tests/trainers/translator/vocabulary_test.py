"""The normal form of text belongs to the vocabulary of a run."""

import dataclasses
import json

import pytest
import tensorflow as tf
from model_folders import make_folder
from small_runs import SMALL, write_corpora

from trainers.engine.folder.files import FolderError
from trainers.translator.folder import ModelFolder
from trainers.translator.text_modes import LineTranslator, PairScorer
from trainers.translator.vocabulary import (
    given_tokenizer,
    make_tokenizer,
    with_vocabulary,
)
from translation.serving.served import ServedTranslator
from translation.text.corpora.corpus import open_corpus
from translation.text.tokenizer.tokenizer import TokenizerError

COMPOSED, DECOMPOSED = "le caf\u00e9", "le cafe\u0301"
CONFIG = dataclasses.replace(
    SMALL, model=dataclasses.replace(SMALL.model, vocab_size=290)
)


def changed(**changes):
    return dataclasses.replace(CONFIG, **changes)


@pytest.mark.parametrize(
    "asked, form",
    [("auto", "NFC"), ("NFC", "NFC"), ("NFKC", "NFKC"), ("none", "none")],
)
def test_new_vocabulary_has_the_form_that_was_asked_for(tmp_path, asked, form):
    write_corpora(tmp_path)
    corpus = open_corpus(str(tmp_path / "train"), "en-fr")
    folder = ModelFolder(tmp_path / "model")
    config = changed(normalization=asked)
    make_tokenizer(config, folder, corpus, None, lambda line: None)
    tokenizer = folder.load_tokenizer()
    assert tokenizer.normalization == form
    assert with_vocabulary(config, tokenizer).normalization == form


def test_run_of_an_earlier_version_goes_on_without_a_form(tmp_path):
    folder = make_folder(tmp_path, normalization="none")
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    del values["normalization"]
    path.write_text(json.dumps(values))
    auto = dataclasses.replace(folder.load_config(), normalization="auto")
    config = with_vocabulary(auto, folder.load_tokenizer())
    assert config == folder.load_config()
    folder.check_same(config)
    named = dataclasses.replace(auto, normalization="NFC")
    with pytest.raises(TokenizerError, match="normalization=none.*tion=NFC"):
        with_vocabulary(named, folder.load_tokenizer())
    with pytest.raises(FolderError, match="there 'none', now 'NFC'"):
        folder.check_same(named)


def test_given_vocabulary_is_the_one_of_the_folder_whatever_its_form(tmp_path):
    folder = make_folder(tmp_path / "model")
    given = tmp_path / "given.model"
    folder.load_tokenizer().normalized("NFKC").save(given)
    size = folder.load_tokenizer().vocab_size
    model = dataclasses.replace(CONFIG.model, vocab_size=size)
    config = changed(model=model, tokenizer_model=str(given))
    new = ModelFolder(tmp_path / "new")
    assert given_tokenizer(config, new).normalization == "NFKC"
    plain = dataclasses.replace(config, normalization="none")
    assert given_tokenizer(plain, new).normalization == "none"
    # The folder began without a form: so it goes on.
    assert given_tokenizer(config, folder) is None


@pytest.mark.slow
def test_both_forms_of_a_text_are_translated_and_scored_alike(tmp_path):
    folder = make_folder(tmp_path, sentences=[COMPOSED, "a dog"])
    pairs = [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)]
    one, other = PairScorer(tmp_path)(pairs)
    assert one != other
    folder.save_tokenizer(folder.load_tokenizer().normalized("NFC"))
    one, other = LineTranslator(tmp_path, n_best=2)([COMPOSED, DECOMPOSED])[::2]
    assert one.partition(" ||| ")[2] == other.partition(" ||| ")[2]
    one, other = PairScorer(tmp_path)(pairs)
    assert one == other
    served = ServedTranslator(*folder.load_model(folder.load_config()))
    found = served.translate(tf.constant([COMPOSED, DECOMPOSED]))
    assert len({*found["outputs"].numpy()}) == 1
    tokens = served.tokenize(tf.constant([COMPOSED, DECOMPOSED]))
    assert tokens["lengths"][0] == tokens["lengths"][1]
