"""Corpora stream their pairs and say in one line what is wrong."""

import gzip
import os
import tracemalloc
from typing import NamedTuple

import pytest

from translation.text.corpora import corpus as corpus_module
from translation.text.corpora.base import CorpusSize
from translation.text.corpora.corpus import (
    CorpusError,
    PhrasebookCorpus,
    TextCorpus,
    TsvCorpus,
    open_corpus,
)
from translation.text.text_files import read_lines

ENGLISH = ["A cat.", "", "Two  dogs ", "The end"]
FRENCH = ["Un chat.", "Rien", "Deux chiens", ""]
PAIRS = list(zip(ENGLISH, FRENCH, strict=True))


class FakeSentence(NamedTuple):
    english: str
    french: str
    german: str


def fake_phrasebook(size, seed=0, held_out=False):
    kind = f"{'held' if held_out else 'train'} {seed}"
    return [
        FakeSentence(*(f"{code} {kind} {i}" for code in ("en", "fr", "de")))
        for i in range(size)
    ]


def use_fake_phrasebook(monkeypatch):
    monkeypatch.setattr(corpus_module, "phrasebook", fake_phrasebook)


def write(path, lines, end="\n"):
    content = "".join(line + end for line in lines).encode()
    if path.suffix == ".gz":
        content = gzip.compress(content)
    path.write_bytes(content)
    return path


def write_pair(folder, english=ENGLISH, french=FRENCH):
    write(folder / "train.en", english)
    write(folder / "train.fr", french)
    return str(folder / "train")


def from_graph(corpus):
    return [
        (source.decode(), target.decode())
        for source, target in corpus.dataset().as_numpy_iterator()
    ]


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


class TestTextCorpus:
    @pytest.mark.parametrize("endings", [("", ""), (".gz", ".gz"), (".gz", "")])
    def test_reads_plain_and_compressed_files(self, tmp_path, endings):
        write(tmp_path / f"train.en{endings[0]}", ENGLISH)
        write(tmp_path / f"train.fr{endings[1]}", FRENCH)
        corpus = open_corpus(str(tmp_path / "train"), "en-fr")
        assert list(corpus.pairs()) == PAIRS
        assert from_graph(corpus) == PAIRS
        assert corpus.check() == CorpusSize(pairs=4, empty=2)

    def test_the_pair_gives_the_direction(self, tmp_path):
        corpus = open_corpus(write_pair(tmp_path), "fr-en")
        assert next(corpus.pairs()) == ("Un chat.", "A cat.")

    def test_sentences_are_those_of_both_languages(self, tmp_path):
        corpus = open_corpus(write_pair(tmp_path), "en-fr")
        assert list(corpus.sentences())[:4] == [
            "A cat.",
            "Un chat.",
            "",
            "Rien",
        ]

    @pytest.mark.parametrize(
        "content, lines",
        [
            (b"a\nb", ["a", "b"]),  # no line feed at the end
            (b"a\r\nb\r\n", ["a", "b"]),
            (b"a\rb\n\n", ["ab", ""]),
            (" a\u2028b\u0085c\x0c\t\n".encode(), [" a\u2028b\u0085c\x0c\t"]),
            (b"a\x00b\n", ["a\x00b"]),
            # A byte order mark begins a file, and is no part of its text.
            ("\ufeffa\n\ufeffb\n".encode(), ["a", "\ufeffb"]),
            ("\ufeff\nb".encode(), ["", "b"]),
        ],
    )
    def test_python_and_graph_agree_on_lines(self, tmp_path, content, lines):
        for ending, data in (("", content), (".gz", gzip.compress(content))):
            (tmp_path / f"x.en{ending}").write_bytes(data)
            corpus = TextCorpus(tmp_path / "x", "en", "en")
            pairs = [(line, line) for line in lines]
            assert list(corpus.pairs()) == from_graph(corpus) == pairs
            (tmp_path / f"x.en{ending}").unlink()

    def test_compressed_files_joined_end_to_end(self, tmp_path):
        part = gzip.compress(b"one\n"), gzip.compress(b"two\n")
        (tmp_path / "x.en.gz").write_bytes(b"".join(part))
        corpus = TextCorpus(tmp_path / "x", "en", "en")
        assert list(corpus.pairs()) == from_graph(corpus)
        assert corpus.check().pairs == 2

    def test_check_streams(self, tmp_path):
        prefix = write_pair(tmp_path, ["x" * 99] * 20_000, ["y"] * 20_000)
        corpus = open_corpus(prefix, "en-fr")
        tracemalloc.start()
        corpus.check()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200_000  # bytes, of 2,000,000

    def test_blank_lines_count_as_empty(self, tmp_path):
        prefix = write_pair(
            tmp_path,
            ["a", " \t", "c", "\u3000", "e", "\u200b\ufeff"],
            ["x", "y", "z", "w", "\u2028\u0085", "\u00ad"],
        )
        assert open_corpus(prefix, "en-fr").check() == CorpusSize(6, 4)


class TestFaultsOfTextFiles:
    def check(self, prefix, pair="en-fr"):
        with pytest.raises(CorpusError) as error:
            open_corpus(str(prefix), pair).check()
        return one_line(error)

    @pytest.mark.parametrize("counts", [(4, 9), (9, 4)])
    def test_unequal_line_counts(self, tmp_path, counts):
        english, french = (["line"] * count for count in counts)
        message = self.check(write_pair(tmp_path, english, french))
        assert f"train.en has {counts[0]}" in message
        assert f"train.fr has {counts[1]}" in message

    def test_one_file_is_empty(self, tmp_path):
        message = self.check(write_pair(tmp_path, ENGLISH, []))
        assert "train.en has 4" in message and "train.fr has 0" in message

    def test_both_files_are_empty(self, tmp_path):
        assert "no lines" in self.check(write_pair(tmp_path, [], []))

    def test_all_lines_are_empty(self, tmp_path):
        message = self.check(write_pair(tmp_path, ["", "a"], ["x", " "]))
        assert "2 empty lines" in message

    def test_a_missing_language_lists_those_beside(self, tmp_path):
        prefix = write_pair(tmp_path)
        write(tmp_path / "train.ces.gz", ENGLISH)
        write(tmp_path / "val.it", ENGLISH)
        message = self.check(prefix, "en-de")
        assert "train.de or" in message and "train.de.gz" in message
        assert "languages ces, en, fr." in message

    def test_a_missing_prefix(self, tmp_path):
        message = self.check(tmp_path / "nothing")
        assert f"no file nothing.LANGUAGE is in {tmp_path}" in message
        assert "nothing.en" in self.check(tmp_path / "no" / "nothing")

    def test_bytes_that_are_not_utf8(self, tmp_path):
        prefix = write_pair(tmp_path)
        latin = "Un chat.\nRien\nÉté\n\n".encode("latin-1")
        (tmp_path / "train.fr").write_bytes(latin)
        assert "train.fr, line 3: not UTF-8 at byte 1." in self.check(prefix)

    def test_a_broken_compressed_file(self, tmp_path):
        write(tmp_path / "train.fr", FRENCH)
        whole = gzip.compress("\n".join(ENGLISH * 99).encode())
        for content in (whole[: len(whole) // 2], b"not compressed"):
            (tmp_path / "train.en.gz").write_bytes(content)
            message = self.check(tmp_path / "train")
            assert "train.en.gz: cannot be read after line" in message

    @pytest.mark.parametrize(
        "content, line",
        [
            (b"a\rb\rc\r", 1),
            (b"a\rb", 1),
            (b"a\r\rb\r\rc\n", 1),
            (b"a\nb\r\nc\rd\re\rf\n", 3),
        ],
    )
    def test_carriage_returns_that_end_lines(self, tmp_path, content, line):
        for name in ("x.en", "x.fr"):
            (tmp_path / name).write_bytes(content)
        message = self.check(tmp_path / "x")
        assert f"x.en, line {line}: has carriage returns in it" in message
        assert "tr '\\r' '\\n'" in message

    @pytest.mark.parametrize(
        "content, fault",
        [
            ("a\n".encode("utf-16"), "is UTF-16: convert it"),
            (gzip.compress(b"a\n", mtime=0), "is compressed: unpack it"),
        ],
    )
    def test_files_that_begin_as_no_text(self, tmp_path, content, fault):
        for name in ("x.en", "x.fr"):
            (tmp_path / name).write_bytes(content)
        assert f"x.en {fault}" in self.check(tmp_path / "x")

    @pytest.mark.parametrize(
        "behind", [b"\0", b"\0" * 512, b"\0" * 9_000, b"garbage", b"\x1f"]
    )
    def test_bytes_behind_a_compressed_text(self, tmp_path, behind):
        lines = [f"line {i}" for i in range(300)]
        write(tmp_path / "x.fr", lines)
        path = write(tmp_path / "x.en.gz", lines)
        path.write_bytes(path.read_bytes() + behind)
        message = self.check(tmp_path / "x")
        assert "x.en.gz: cannot be read after line 300: " in message
        # Zeros are the padding that `gzip -t` accepts; so do the text modes.
        if not behind.strip(b"\0"):
            assert list(read_lines(path)) == lines
        else:
            with pytest.raises(CorpusError, match="cannot be read"):
                list(read_lines(path))

    def test_zeros_between_compressed_texts(self, tmp_path):
        path = tmp_path / "x.gz"
        parts = gzip.compress(b"one\n"), gzip.compress(b"two\n")
        path.write_bytes((b"\0" * 512).join(parts))
        assert list(read_lines(path)) == ["one", "two"]
        with pytest.raises(CorpusError, match="x.gz: cannot be read"):
            list(read_lines(path, like_graph=True))

    def test_a_pipe_is_no_corpus(self, tmp_path):
        for name in ("x", "x.tsv"):
            os.mkfifo(tmp_path / name)
            assert "is a pipe" in self.check(tmp_path / name)


class TestTsvCorpus:
    @pytest.mark.parametrize("ending", [".tsv", ".tsv.gz"])
    def test_reads_two_columns(self, tmp_path, ending):
        path = tmp_path / f"train{ending}"
        write(path, [f"{source}\t{target}" for source, target in PAIRS])
        corpus = open_corpus(str(path), "en-fr")
        assert list(corpus.pairs()) == from_graph(corpus) == PAIRS
        assert corpus.check() == CorpusSize(pairs=4, empty=2)

    @pytest.mark.parametrize("line, columns", [("a b", 1), ("a\tb\tc", 3)])
    def test_any_other_number_of_columns(self, tmp_path, line, columns):
        path = write(tmp_path / "train.tsv", ["a\tb", line])
        with pytest.raises(CorpusError) as error:
            open_corpus(str(path), "en-fr").check()
        assert "train.tsv, line 2:" in one_line(error)
        assert f"found {columns}." in one_line(error)

    def test_missing_and_empty_files(self, tmp_path):
        with pytest.raises(CorpusError, match="There is no file .*x.tsv"):
            TsvCorpus(tmp_path / "x.tsv")
        with pytest.raises(CorpusError, match="no lines"):
            TsvCorpus(write(tmp_path / "x.tsv", [])).check()


class TestPhrasebookCorpus:
    @pytest.fixture(autouse=True)
    def use_fake(self, monkeypatch):
        use_fake_phrasebook(monkeypatch)

    def test_any_two_languages(self):
        for pair in ("en-fr", "de-en", "fr-de"):
            source, target = pair.split("-")
            corpus = open_corpus("phrasebook:3", pair)
            expected = [
                (f"{source} train 0 {i}", f"{target} train 0 {i}")
                for i in range(3)
            ]
            assert list(corpus.pairs()) == from_graph(corpus) == expected
            assert corpus.check() == CorpusSize(pairs=3, empty=0)

    def test_splits_share_no_sentence(self):
        splits = {
            split: set(open_corpus("phrasebook:5", "en-fr", split).pairs())
            for split in ("train", "dev", "test")
        }
        assert [len(pairs) for pairs in splits.values()] == [5, 5, 5]
        assert len(set.union(*splits.values())) == 15

    def test_the_size_has_a_default(self):
        dev = open_corpus("phrasebook", "en-fr", "dev").check()
        test = open_corpus("phrasebook", "en-fr", "test").check()
        assert (dev.pairs, test.pairs) == (500, 1_000)

    def test_the_seed_is_passed_on(self):
        corpus = PhrasebookCorpus("en-fr", "train", 1, seed=7)
        assert list(corpus.pairs()) == [("en train 7 0", "fr train 7 0")]

    def test_an_unknown_language(self):
        with pytest.raises(CorpusError, match="'it'; it has en, fr, de."):
            open_corpus("phrasebook", "en-it")

    def test_no_sentences(self):
        with pytest.raises(CorpusError, match="`size` must be at least 1"):
            open_corpus("phrasebook:0", "en-fr")


class TestRealPhrasebook:
    def test_splits_share_no_english_whatever_their_sizes(self):
        splits = [
            {source for source, _ in open_corpus(spec, "en-de", split).pairs()}
            for spec, split in (
                ("phrasebook:200", "train"),
                ("phrasebook:20", "dev"),
                ("phrasebook:30", "test"),
            )
        ]
        assert [len(sentences) for sentences in splits] == [200, 20, 30]
        assert len(set.union(*splits)) == 250


class TestOpenCorpus:
    def test_joins_several(self, tmp_path, monkeypatch):
        use_fake_phrasebook(monkeypatch)
        prefix = write_pair(tmp_path)
        table = write(tmp_path / "more.tsv", ["a\tb"])
        corpus = open_corpus(f"{prefix}, {table},phrasebook:1", "en-fr")
        expected = [*PAIRS, ("a", "b"), ("en train 0 0", "fr train 0 0")]
        assert list(corpus.pairs()) == from_graph(corpus) == expected
        assert corpus.check() == CorpusSize(pairs=6, empty=2)

    def test_any_of_several_can_be_at_fault(self, tmp_path):
        prefix = write_pair(tmp_path)
        table = write(tmp_path / "more.tsv", ["a"])
        with pytest.raises(CorpusError, match="more.tsv, line 1"):
            open_corpus(f"{prefix},{table}", "en-fr").check()

    @pytest.mark.parametrize("spec", ["", " , "])
    def test_a_spec_must_name_something(self, spec):
        with pytest.raises(CorpusError, match="`spec` must name a corpus"):
            open_corpus(spec, "en-fr")

    @pytest.mark.parametrize("pair", ["en", "en_fr", "e-f", ""])
    def test_a_pair_must_be_two_languages(self, pair):
        with pytest.raises(CorpusError, match="`pair` must be two language"):
            open_corpus("phrasebook", pair)

    def test_files_of_a_tag_in_any_spelling(self, tmp_path):
        for target in ("pt-BR", "pt_BR", "pt-br", "pt_br", "PT-BR"):
            write(tmp_path / "x.EN", ["one"])
            write(tmp_path / f"x.{target}.gz", ["um"])
            corpus = open_corpus(str(tmp_path / "x"), "en-pt-br")
            assert list(corpus.pairs()) == [("one", "um")]
            (tmp_path / f"x.{target}.gz").unlink()
        write(tmp_path / "x.pt", ["um"])
        with pytest.raises(CorpusError) as error:
            open_corpus(str(tmp_path / "x"), "en-pt-br")
        assert "x.pt-BR or" in one_line(error) and "pt_br" in one_line(error)
        assert "beside it are the languages EN, pt." in one_line(error)

    def test_one_language_twice(self, tmp_path):
        write(tmp_path / "x.source", ["colour"])
        write(tmp_path / "x.target", ["color"])
        corpus = open_corpus(str(tmp_path / "x"), "en-en")
        assert (
            list(corpus.pairs()) == from_graph(corpus) == [("colour", "color")]
        )
        write(tmp_path / "y.en", ["colour"])
        with pytest.raises(CorpusError, match="y.source or .*languages en"):
            open_corpus(str(tmp_path / "y"), "en-en")
        with pytest.raises(CorpusError, match="says everything once in 'en'"):
            open_corpus("phrasebook", "en-GB-en")

    def test_a_split_must_be_known(self):
        with pytest.raises(CorpusError, match="train, dev, test.*'valid'"):
            open_corpus("phrasebook", "en-fr", "valid")

    def test_a_folder_is_no_prefix(self, tmp_path):
        write_pair(tmp_path)
        with pytest.raises(CorpusError, match="folder.*such as .*train"):
            open_corpus(str(tmp_path), "en-fr")
