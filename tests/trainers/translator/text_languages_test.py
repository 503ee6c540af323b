"""Lines and pairs through a model of several languages."""

import json

import pytest
from model_folders import SENTENCES, make_folder

from trainers.engine.folder.files import FolderError
from trainers.translator.folder import ModelFolder
from trainers.translator.serving import check_export, export_model
from trainers.translator.text_input import TextLine
from trainers.translator.text_modes import LineTranslator, PairScorer

PAIR = "en-fr,en-de,en-ja,fr-en"
TEXT = SENTENCES[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    return make_folder(path, seeds=(1, 2, 3), pair=PAIR).path


@pytest.fixture(scope="module")
def translate(folder):
    return LineTranslator(folder, target="fr")


@pytest.fixture(scope="module")
def by_language(translate):
    """The translations of one text into each language."""
    return {
        target: translate([TextLine(TEXT, target=target)])[0]
        for target in ("fr", "de", "ja", "en")
    }


class TestTranslating:
    def test_each_line_goes_into_its_language(self, translate, by_language):
        lines = [
            TextLine(TEXT, target="de"),
            TextLine("  ", target="ja"),
            TextLine(TEXT),
            TEXT,
            TextLine(TEXT, target="en"),
        ]
        fr, de, en = (by_language[x] for x in ("fr", "de", "en"))
        assert len({fr, de, en}) == 3  # the token in front decides
        assert translate(lines) == [de, "", fr, fr, en]

    def test_prefixes_and_n_best(self, folder):
        translate = LineTranslator(folder, n_best=2, target="fr")
        lines = translate(
            [TextLine(TEXT, "oh th", "de"), TextLine(TEXT, "", "en")]
        )
        parts = [line.split(" ||| ") for line in lines]
        assert [x[0] for x in parts] == ["0", "0", "1", "1"]
        assert all(x[1].startswith("oh th") for x in parts[:2])

    def test_soft_alignment_shows_the_language_and_hard_links_it_not(
        self, folder
    ):
        soft, hard = (
            LineTranslator(folder, alignments=kind, target="de")([TEXT])[0]
            for kind in ("soft", "hard")
        )
        shown = json.loads(soft.split(" ||| ")[1])
        assert shown["source"][0] == "<2de>"
        assert shown["source"][-1] == shown["target"][-1] == "</s>"
        for row in shown["attention"]:
            assert len(row) == len(shown["source"])
            assert sum(row) == pytest.approx(1, abs=2e-3)
        links = [x.split("-") for x in hard.split(" ||| ")[1].split()]
        assert all(int(i) < len(TEXT.split()) for i, _ in links)

    def test_a_long_line_is_cut_with_its_language(self, folder):
        said = []
        translate = LineTranslator(
            folder, max_source_length=5, warn=said.append, target="de"
        )
        [found] = translate([TEXT])
        assert found and "over 5: only the first 3 are translated" in said[0]

    def test_parts_are_joined_as_the_language_of_the_line_does(
        self, folder, translate
    ):
        text = "a small dog. A cat sees the dog."
        split = LineTranslator(
            folder,
            long_lines="split",
            max_source_length=22,
            warn=[].append,
            target="fr",
        )
        for target, space in (("de", " "), ("ja", "")):
            sentences = ["a small dog.", "A cat sees the dog."]
            parts = translate([(x, "", target) for x in sentences])
            [found] = split([TextLine(text, target=target)])
            assert found == space.join(x.strip() for x in parts if x.strip())

    def test_a_line_without_a_language_is_an_error(self, folder):
        translate = LineTranslator(folder)
        assert translate([" "]) == [""]
        with pytest.raises(ValueError, match="`targets` must be of fr, de"):
            translate([TEXT])

    def test_an_ensemble_asks_all_members(self, folder, by_language):
        both = LineTranslator(folder, members=["best:1", "last:1"], target="de")
        assert both([TEXT]) == [by_language["de"]]


class TestScoring:
    def test_each_pair_has_its_language(self, folder):
        score = PairScorer(folder, target="fr")
        pairs = [(TEXT, "dog", "de"), (TEXT, "dog", "en")]
        in_column = score(pairs)
        assert in_column[0] != in_column[1]
        german = PairScorer(folder, target="de")
        assert german([(TEXT, "dog")]) == in_column[:1]


def test_an_export_is_tried_in_the_languages_of_its_examples(
    folder, by_language
):
    model_folder = ModelFolder(folder)
    config = model_folder.load_config()
    examples = [
        {
            "direction": f"en-{target}",
            "target": target,
            "source": TEXT,
            "translation": by_language[target],
            "reference": "oh",
        }
        for target in ("de", "fr")
    ]
    figures = {"en-de": {"bleu": 12.5}, "en-fr": {"bleu": 25.0}}
    results = {"bleu": 18.75, "directions": figures, "examples": examples}
    path = export_model(
        config,
        model_folder,
        *model_folder.load_model(config),
        results,
        "float32",
    )
    said = []
    check_export(path, results, said.append)
    assert "it gives 2 of 2 of these" in said[0]
    card = json.loads((path / "assets.extra/card.json").read_text())
    assert card["directions"] == PAIR.split(",")
    assert card["target_languages"] == ["fr", "de", "ja", "en"]
    assert card["figures"]["directions"] == figures


def test_members_with_other_directions_make_no_ensemble(folder, tmp_path):
    same = make_folder(tmp_path / "same", pair="fr-en,en-ja,en-de,en-fr")
    other = make_folder(tmp_path / "other", pair="en-fr,en-de")
    with pytest.raises(FolderError, match="translates en-fr,en-de, .*fr-en"):
        LineTranslator(folder, members=[str(other.path)], target="de")
    # The same directions in another order have other ids of the languages.
    with pytest.raises(FolderError, match="another vocabulary"):
        LineTranslator(folder, members=[str(same.path)], target="de")
