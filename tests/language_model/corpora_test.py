"""Where lines come from: files, patterns, folders, weights, the benchmark."""

import gzip
import itertools

import pytest
import tensorflow as tf

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


def _files(folder, *counts):
    """Files of so many lines of equal length, each line another."""
    numbers = itertools.count(1000)
    paths = [folder / f"part-{n}.txt" for n in range(len(counts))]
    for path, count in zip(paths, counts, strict=True):
        path.write_text("".join(f"{next(numbers)}\n" for _ in range(count)))
    return paths


def _parts(spec, count):
    """Lines of each worker, which are those of the graph as well."""
    return [_both(open_lines(spec).shard(n, count)) for n in range(count)]


def test_sizes_of_compressed_and_plain_files_are_not_compared(folder):
    # Neither has a like: of each file every worker reads some lines.
    assert _parts("news", 2) == [["one", "three"], ["two", "four"]]


@pytest.mark.parametrize(
    "lines, workers, counts",
    [
        ((4, 4, 4, 4), 2, [8, 8]),
        ((5,), 2, [3, 2]),  # fewer files than workers
        ((40, 1), 2, [21, 20]),  # files of unlike sizes
        ((9, 9, 9), 2, [14, 13]),  # one is left over
        ((6, 0, 6), 2, [6, 6]),  # an empty one
        ((100, 98, 50, 49, 7), 2, [152, 152]),
        ((3, 3, 3), 4, [3, 2, 2, 2]),
    ],
)
def test_every_line_is_of_one_worker_and_they_have_alike(
    folder, lines, workers, counts
):
    _files(folder, *lines)
    parts = _parts("part-*.txt", workers)
    everything = [line for part in parts for line in part]
    assert sorted(everything) == sorted(open_lines("part-*.txt").read())
    assert len({*everything}) == sum(lines)
    found = [*map(len, parts)]
    assert sum(found) == sum(counts)
    assert max(found) - min(found) <= 1 + 0.1 * max(found)


def test_whole_files_of_one_size_are_read_by_one_worker_each(folder):
    paths = _files(folder, 4, 4, 4, 4, 4)
    texts = [{*path.read_text().split()} for path in paths]
    whole = [
        sum(text <= {*part} for text in texts)
        for part in _parts("part-*.txt", 2)
    ]
    assert whole == [2, 2]  # and the fifth is shared


def test_each_worker_mixes_by_the_same_weights(folder):
    _files(folder, 8, 8)
    corpus = open_lines("part-0.txt@3,part-1.txt@1").shard(1, 2)
    assert corpus.weights == [3, 1]
    drawn = itertools.islice(
        corpus.training_dataset(5).as_numpy_iterator(), 4000
    )
    part = [line < b"1008" for line in drawn]
    # A binomial of 4000 and 3 / 4 has a standard deviation of 27.
    assert abs(sum(part) - 3000) < 120


def test_worker_without_a_line_of_some_weighted_corpus_is_seen(folder):
    _files(folder, 4, 1)
    for spec, expected in (
        ("part-0.txt,part-1.txt", [True, True]),
        ("part-0.txt@1,part-1.txt@1", [True, False]),
        ("part-1.txt", [True, False]),
    ):
        corpus = open_lines(spec)
        assert [corpus.shard(n, 2).has_lines() for n in (0, 1)] == expected


def test_many_files_plain_compressed_and_marked_are_read_as_python_does(
    folder,
):
    paths = _files(folder, 2, 1, 0, 3)
    paths[1].write_bytes(b"\xef\xbb\xbf" + paths[1].read_bytes())
    with gzip.open(folder / "part-4.txt.gz", "wt") as file:
        file.write("\ufeffpacked\nlast\n")
    lines = _both(open_lines("part-*"))
    assert lines == ["1000", "1001", "1002", "1003", "1004", "1005"] + [
        "packed",
        "last",
    ]


def test_place_in_many_files_is_kept_and_they_may_move(folder):
    _files(folder, 3, 3, 3)
    iterator = iter(open_lines("part-*.txt").training_dataset(0))
    for _ in range(5):
        next(iterator)
    place = tf.train.Checkpoint(lines=iterator).write(str(folder / "place"))
    expected = [next(iterator).numpy() for _ in range(7)]
    (folder / "moved").mkdir()
    for path in folder.glob("part-*.txt"):
        path.rename(folder / "moved" / path.name)
    other = iter(open_lines("moved/part-*.txt").training_dataset(0))
    tf.train.Checkpoint(lines=other).read(place).assert_consumed()
    assert [next(other).numpy() for _ in range(7)] == expected


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
