"""What a spec of corpora means, and what is said where it means nothing."""

import gzip
import re

import pytest

from translation.text.corpora.corpus import open_corpus
from translation.text.corpora.specs import without_folders
from translation.text.text_files import CorpusError

PAIR = "en-fr"


def write(folder, *prefixes):
    for prefix in prefixes:
        for language in ("en", "fr"):
            (folder / f"{prefix}.{language}").write_text(f"{prefix}\n")


def error_of(spec, split="train"):
    with pytest.raises(CorpusError) as error:
        open_corpus(str(spec), PAIR, split)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "spec, name",
    [
        ("news\\@2019", "news@2019"),
        ("a\\,b", "a,b"),
        ("v@2/train", "v@2/train"),  # not at the end: no weight
    ],
)
def test_backslash_lets_a_name_keep_its_comma_and_its_at(tmp_path, spec, name):
    (tmp_path / "v@2").mkdir()
    write(tmp_path, name)
    corpus = open_corpus(f"{tmp_path}/{spec}", PAIR)
    assert list(corpus.pairs()) == [(name, name)]


def test_names_with_a_backslash_are_weighted_like_others(tmp_path):
    write(tmp_path, "news@2019", "b")
    spec = f"{tmp_path}/news\\@2019@3,{tmp_path}/b@1"
    corpus = open_corpus(spec, PAIR)
    assert corpus.weights == [0.75, 0.25]
    assert [pair[0] for pair in corpus.pairs()] == ["news@2019", "b"]


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_at_of_a_single_name_is_told_how_to_write(tmp_path, split):
    write(tmp_path, "news@2019")
    message = error_of(tmp_path / "news@2019", split)
    assert f"write '{tmp_path}/news\\@2019'" in message


def test_missing_corpus_with_a_weight_tells_what_was_read(tmp_path):
    write(tmp_path, "b", "news@2019")
    message = error_of(f"{tmp_path}/news@2019,{tmp_path}/b@1")
    assert f"no file {tmp_path}/news.en" in message
    assert "@2019 was read as its weight" in message
    assert f"write '{tmp_path}/news\\@2019'" in message


def test_name_that_may_be_two_corpora_is_refused(tmp_path):
    write(tmp_path, "b", "news", "news@2019")
    message = error_of(f"{tmp_path}/news@2019,{tmp_path}/b@1")
    assert f"corpora {tmp_path}/news and {tmp_path}/news@2019" in message


def test_comma_in_a_path_is_told_how_to_write(tmp_path):
    (tmp_path / "data,v2").mkdir()
    write(tmp_path / "data,v2", "train")
    message = error_of(tmp_path / "data,v2/train")
    assert "one that belongs to a name is written \\,." in message
    escaped = str(tmp_path / "data,v2/train").replace(",", "\\,")
    assert list(open_corpus(escaped, PAIR).pairs()) == [("train", "train")]


@pytest.mark.parametrize("name", ["a.en", "a.en.gz", "a.pt-BR", "a.zh_CN"])
def test_one_file_of_two_is_named_and_so_is_the_prefix(tmp_path, name):
    (tmp_path / name).write_text("")
    message = error_of(tmp_path / name)
    prefix = tmp_path / "a"
    assert message == (
        f"{tmp_path / name} is one file of two; give the start of both names, "
        f"{prefix} for {prefix}.LANGUAGE."
    )


def test_gz_is_no_language(tmp_path):
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"a\n"))
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a\n"))
    message = error_of(tmp_path / "a")
    assert message.endswith("beside it are the languages en.")


def test_single_file_of_another_kind_is_told_what_there_is(tmp_path):
    (tmp_path / "all.txt").write_text("a ||| b\n")
    message = error_of(tmp_path / "all.txt")
    assert "is a single file; a corpus is two files" in message


def test_third_column_is_told_how_to_leave_out(tmp_path):
    path = tmp_path / "my pairs.tsv"
    path.write_text("a dog\tun chien\tCC-BY\n")
    with pytest.raises(CorpusError) as error:
        open_corpus(str(path), PAIR).check()
    assert "line 1: there must be two columns" in str(error.value)
    assert f"cat '{path}' | cut -f1,2 > pairs.tsv" in str(error.value)
    path.write_text("a dog\n")
    with pytest.raises(CorpusError, match=r"found 1\.$"):
        open_corpus(str(path), PAIR).check()


def test_corpora_of_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "a")
    (tmp_path / "b.tsv").write_text("b\tb\n")
    corpus = open_corpus("~/a,~/b.tsv", PAIR)
    assert list(corpus.pairs()) == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize("spec", ["gs://b/train", "s3://b/a.tsv", "a,gs://b/c"])
def test_url_is_no_corpus(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "a")
    assert re.search("no URLs.*Received: '(gs|s3)://b/", error_of(spec))


def test_folders_are_left_out_of_what_others_read():
    spec = "/data/a@2, ~/b.tsv@1,tfds:x/en-fr:train@1,phrasebook:9@1,../c\\,d@1"
    assert without_folders(spec) == (
        "a@2,b.tsv@1,tfds:x/en-fr:train@1,phrasebook:9@1,c\\,d@1"
    )
