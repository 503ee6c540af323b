"""Where lines come from: files, patterns, folders, weights, the benchmark."""

import gzip

import pytest

from language_model.corpora import open_lines
from translation.text.text_files import CorpusError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "news").mkdir()
    (tmp_path / "news/b.txt").write_text("three\nfour\n")
    with gzip.open(tmp_path / "news/a.txt.gz", "wt") as file:
        file.write("one\ntwo\n")
    (tmp_path / "alone.txt").write_text("five\n")
    return tmp_path


def _both(corpus):
    """Lines as Python and the graph read them, which are the same."""
    lines = list(corpus.read())
    graph = [line.decode() for line in corpus.dataset().as_numpy_iterator()]
    assert graph == lines
    return lines


@pytest.mark.parametrize(
    "spec, lines",
    [
        ("alone.txt", ["five"]),
        ("news", ["one", "two", "three", "four"]),
        ("news/*.txt*", ["one", "two", "three", "four"]),
        ("alone.txt,news/b.txt", ["five", "three", "four"]),
        ("alone.txt@2,news/b.txt@1", ["five", "three", "four"]),
    ],
)
def test_lines_of_a_spec(folder, spec, lines):
    assert _both(open_lines(spec)) == lines


def test_weights_mix_corpora_in_training(folder):
    corpus = open_lines("alone.txt@3,news/b.txt@1")
    drawn = corpus.training_dataset(seed=1).take(2000).as_numpy_iterator()
    share = [line == b"five" for line in drawn]
    assert sum(share) / 2000 == pytest.approx(0.75, abs=0.05)


def test_billion_word_benchmark_has_its_own_layout(tmp_path):
    for name, count in (("training", 3), ("heldout", 2)):
        split = tmp_path / f"{name}-monolingual.tokenized.shuffled"
        split.mkdir()
        for number in range(count):
            path = split / f"news.en-{number:05}-of-00100"
            path.write_text(f"{name} {number}\n")
    found = {
        split: list(open_lines(str(tmp_path), split).read())
        for split in ("train", "dev", "test")
    }
    assert found == {
        "train": ["training 0", "training 1", "training 2"],
        "dev": ["heldout 1"],
        "test": ["heldout 0"],
    }


def test_workers_have_files_of_their_own(folder):
    corpus = open_lines("news")
    parts = [_both(corpus.shard(index, 2)) for index in (0, 1)]
    assert parts == [["one", "two"], ["three", "four"]]
    with pytest.raises(CorpusError, match="2 files for 3 workers"):
        corpus.shard(0, 3)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("missing.txt", "There is no file missing.txt"),
        ("news/*.xml", "There is no file"),
        ("alone.txt@2,news/b.txt", "each corpus a weight"),
        ("alone.txt@0,news/b.txt@1", "above 0"),
    ],
)
def test_what_is_wrong_is_said(folder, spec, message):
    with pytest.raises(CorpusError, match=message):
        open_lines(spec)


def test_contents_change_with_the_text(folder):
    before = open_lines("alone.txt").contents()
    (folder / "alone.txt").write_text("fivE\n")
    assert open_lines("alone.txt").contents() != before
