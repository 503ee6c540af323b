"""Table 5 at small scale: which models, which differences, zero-shot sets."""

import argparse
import json

import pytest

from translation.text.corpora.multilingual import open_directions


@pytest.fixture(scope="module")
def multilingual(load):
    return load("multilingual")


def figures(kind, **bleu):
    return {
        "kind": kind,
        "steps": 9,
        "ops": 2e6,
        "parameters": 3e6,
        "dev": {"all": 8.0},
        "test": {d.replace("_", "-"): {"bleu": x} for d, x in bleu.items()},
    }


def test_models_of_one_direction_are_as_large_as_the_dense_one(multilingual):
    runs = multilingual.runs_of("multilingual_small", "en-fr:both", 80, 10)
    assert [run.kind for run in runs] == ["experts", "dense", "mono", "mono"]
    dense, mono = runs[1], runs[2]
    assert dense.preset == mono.preset == "multilingual_small_dense"
    assert (mono.pair, mono.fields[0]) == ("en-fr", "steps=10")


def test_differences_are_those_that_the_paper_tells(multilingual):
    experts = figures("experts", en_fr=20.0, fr_en=30.0)
    experts["dev"]["all"] = 6.0
    rows = {
        "experts": experts,
        "dense": figures("dense", en_fr=19.0, fr_en=31.0),
        "mono.en-fr": figures("mono", en_fr=10.0),
        "mono.fr-en": figures("mono", fr_en=29.0),
    }
    assert multilingual.summary(rows) == {
        "dev_perplexity_difference": 6 / 8 - 1,
        "better_than_dense": "1 of 2",
        "better_than_mono": "2 of 2",
    }


@pytest.fixture
def corpora(tmp_path):
    """Two test corpora with English; lines a and c of it are in both."""
    texts = {
        "en-fr.en": "a\nb\nc\na\n",
        "en-fr.fr": "fa\nfb\nfc\nfx\n",
        "en-de.en": "c\nd\na\n",
        "en-de.de": "gc\ngd\nga\n",
    }
    for name, text in texts.items():
        (tmp_path / f"test.{name}").write_text(text)
    return str(tmp_path / "test.{pair}")


def test_lines_of_the_same_english_are_translations(
    multilingual, corpora, tmp_path
):
    prefix = multilingual.make_zero_shot_sets(
        corpora, "fr-de,de-fr", tmp_path / "made"
    )
    for pair, expected in (
        ("fr-de", [("fa", "ga"), ("fc", "gc")]),
        ("de-fr", [("ga", "fa"), ("gc", "fc")]),
    ):
        assert [*open_directions(prefix, pair, "test").pairs()] == expected


def test_what_is_asked_later_is_added_and_nothing_is_done_again(
    multilingual, tmp_path, monkeypatch
):
    done = []
    monkeypatch.setattr(multilingual, "train_and_evaluate", lambda *_: {})
    monkeypatch.setattr(multilingual, "config_of", lambda *_: None)
    monkeypatch.setattr(
        multilingual,
        "_figures",
        lambda run, *_: done.append("figures") or figures(run.kind),
    )
    monkeypatch.setattr(
        multilingual,
        "zero_shot",
        lambda *_: done.append("zero-shot") or {"fr-de": {"bleu": 1.0}},
    )
    run = multilingual.Run("dense", "dense", "preset", "en-fr,en-de")
    (tmp_path / "dense").mkdir()
    for asked in ("", "fr-de", "fr-de"):
        arguments = argparse.Namespace(folder=tmp_path, zero_shot=asked)
        found = multilingual.measure(arguments, run)
    assert done == ["figures", "zero-shot"]
    assert found["zero_shot"] == {"fr-de": {"bleu": 1.0}}
    kept = json.loads((tmp_path / "dense" / "table_5.json").read_text())
    assert kept == found
