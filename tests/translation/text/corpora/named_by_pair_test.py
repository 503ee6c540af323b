"""Names of corpora with {pair} in them."""

import gzip

import pytest

from translation.text.corpora.corpus import open_corpus
from translation.text.text_files import CorpusError

PAIRS = [("one dog", "un chien"), ("two dogs", "deux chiens")]
BACK = [pair[::-1] for pair in PAIRS]


def write_prefix(folder, name, tags, ending=""):
    folder.mkdir(parents=True, exist_ok=True)
    for tag, side in zip(tags, zip(*PAIRS, strict=True), strict=True):
        text = "".join(f"{line}\n" for line in side).encode()
        path = folder / f"{name}.{tag}{ending}"
        path.write_bytes(gzip.compress(text) if ending else text)


@pytest.mark.parametrize(
    "name, tags, pair",
    [
        ("train.en-fr", ("en", "fr"), "en-fr"),
        ("train.fr-en", ("en", "fr"), "en-fr"),
        ("train.en_fr", ("en", "fr"), "en-fr"),
        ("train.EN-FR", ("EN", "FR"), "en-fr"),
        ("train.en-pt_BR", ("en", "pt_BR"), "en-pt-br"),
        ("train.pt-br_en", ("en", "pt-br"), "en-pt-BR"),
        ("train.zh_Hant-en", ("en", "zh_Hant"), "en-zh-hant"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_both_directions_have_the_same_files(
    tmp_path, name, tags, pair, ending
):
    write_prefix(tmp_path, name, tags, ending)
    spec = str(tmp_path / "train.{pair}")
    assert list(open_corpus(spec, pair).pairs()) == PAIRS
    source, target = open_corpus(spec, pair).source_path, tags[1]
    assert source.name.startswith(f"{name}.{tags[0]}")
    back = f"{target}-en" if target.islower() else f"{target.lower()}-en"
    assert list(open_corpus(spec, back).pairs()) == BACK


def test_the_pair_may_be_a_folder(tmp_path):
    write_prefix(tmp_path / "en-fr", "train", ("en", "fr"))
    spec = str(tmp_path / "{pair}" / "train")
    assert list(open_corpus(spec, "fr-en").pairs()) == BACK


def test_columns_are_in_the_order_of_the_name(tmp_path):
    lines = "".join("\t".join(pair) + "\n" for pair in PAIRS)
    (tmp_path / "en-fr.tsv").write_text(lines)
    spec = str(tmp_path / "{pair}.tsv")
    assert list(open_corpus(spec, "en-fr").pairs()) == PAIRS
    back = open_corpus(spec, "fr-en")
    assert list(back.pairs()) == BACK
    from_graph = [
        tuple(x.decode() for x in pair)
        for pair in back.dataset().as_numpy_iterator()
    ]
    assert from_graph == BACK


def test_a_direction_of_its_own_comes_first(tmp_path):
    write_prefix(tmp_path, "train.en-fr", ("en", "fr"))
    (tmp_path / "train.fr-en.fr").write_text("un chat\n")
    (tmp_path / "train.fr-en.en").write_text("one cat\n")
    spec = str(tmp_path / "train.{pair}")
    assert list(open_corpus(spec, "en-fr").pairs()) == PAIRS
    assert list(open_corpus(spec, "fr-en").pairs()) == [("un chat", "one cat")]


def test_what_is_missing_is_named_with_what_is_there(tmp_path):
    write_prefix(tmp_path, "train.en-fr", ("en", "fr"))
    write_prefix(tmp_path, "train.en-pt_BR", ("en", "pt_BR"))
    spec = str(tmp_path / "train.{pair}")
    with pytest.raises(CorpusError) as error:
        open_corpus(spec, "en-it")
    assert f"no {tmp_path}/train.en-it.en or " in str(error.value)
    assert f"{tmp_path}/train.it-en.en" in str(error.value)
    assert "there are pairs en-fr, en-pt_BR." in str(error.value)


def test_of_one_file_of_two_the_other_is_named(tmp_path):
    (tmp_path / "train.en-it.en").write_text("one dog\n")
    with pytest.raises(CorpusError, match=r"no file .*train\.en-it\.it or"):
        open_corpus(str(tmp_path / "train.{pair}"), "en-it")
