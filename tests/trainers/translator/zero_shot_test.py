"""Directions without training, evaluated apart from the others."""

import pytest
from model_folders import make_folder

from trainers.translator.task import evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    texts = {"en": "dog\ncat\n", "fr": "chien\nchat\n", "de": "Hund\nKatze\n"}
    for language, text in texts.items():
        (path / f"test.{language}").write_text(text)
    test = str(path / "test")
    return make_folder(path / "model", pair="en-fr,de:both", test=test)


def test_they_have_figures_and_texts_of_their_own(folder):
    said = []
    found = evaluate(
        folder.path,
        log=said.append,
        pair="en-fr,fr-de,de-fr",
        zero_shot=True,
    )
    assert found["bleu"] >= 0 and "directions" not in found
    apart = found["zero_shot"]
    assert [*apart["directions"]] == ["fr-de", "de-fr"]
    assert {x["target"] for x in apart["examples"]} == {"de", "fr"}
    line = "Zero-shot: the model was not trained in fr-de,de-fr."
    before, after = said[: said.index(line)], said[said.index(line) :]
    assert any(x.startswith("BLEU") for x in before)
    assert any(x.startswith("fr-de ") for x in after)
    for name, text in (
        ("zero_shot.fr-de.src", "chien\nchat\n"),
        ("zero_shot.fr-de.ref", "Hund\nKatze\n"),
        ("zero_shot.de-fr.src", "Hund\nKatze\n"),
        ("evaluated.ref", "chien\nchat\n"),
    ):
        assert (folder.path / name).read_text() == text


def test_they_are_refused_where_nobody_asks_for_them(folder):
    with pytest.raises(ValueError, match="not trained from fr to de"):
        evaluate(folder.path, pair="fr-de")
