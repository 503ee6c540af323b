"""A run from the weights of a model of several directions."""

import pytest
from model_folders import make_folder
from small_runs import SMALL, train, write_corpora

from trainers.engine.config.overrides import with_overrides
from trainers.engine.folder.files import FolderError
from trainers.translator.folder import ModelFolder
from trainers.translator.initial import started_from


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of en-fr, fr-en, en-de and de-en, and texts of en-fr."""
    path = tmp_path_factory.mktemp("several")
    make_folder(path / "several", pair="en-fr,de:both")
    write_corpora(path)
    return path


def config_of(place, pair):
    start = started_from(SMALL, str(place / "several"))
    corpora = [f"{split}={place / split}" for split in ("train", "dev", "test")]
    settings = ["steps=1", "evaluate_every=1", "average_decay=0"]
    return with_overrides(start, [f"pair={pair}", *corpora, *settings])


@pytest.mark.parametrize(
    "pair, tokens", [("en-fr", set()), ("fr-en,en-fr", {"fr", "en"})]
)
def test_it_may_learn_some_of_them(place, tmp_path, pair, tokens):
    loop = train(config_of(place, pair), tmp_path / "some", (1.0,))
    assert int(loop.step) == 1
    folder = ModelFolder(tmp_path / "some")
    config, tokenizer = folder.load_config(), folder.load_tokenizer()
    assert config.pair == pair
    assert {*tokenizer.targets} == tokens
    there = ModelFolder(place / "several").load_tokenizer()
    assert tokenizer.vocab_size == there.vocab_size
    assert tokenizer.encode(["one dog"]) == there.encode(["one dog"])


@pytest.mark.parametrize("pair", ["en-es", "es-fr", "en-fr,en-es"])
def test_languages_that_it_does_not_know_are_refused(place, tmp_path, pair):
    for split in ("train", "dev", "test"):
        (place / f"{split}.es").write_text("un perro\n" * 4)
    with pytest.raises(FolderError, match="others between the same source and"):
        train(config_of(place, pair), tmp_path / "other", (1.0,))
    assert not (tmp_path / "other" / "config.json").exists()
