"""Corpora of several directions, mixed into one."""

import collections

import pytest
import tensorflow as tf

from translation.text.corpora.mixing import parse_mixing
from translation.text.corpora.multilingual import open_directions
from translation.text.corpora.pair_filters import FilterOptions
from translation.text.input_pipeline import (
    PipelineOptions,
    count_too_long,
    evaluation_batches,
    training_batches,
)
from translation.text.special_ids import EOS_ID, PAD_ID
from translation.text.text_files import CorpusError
from translation.text.tokenizer.training import train_tokenizer

EN_FR = [(f"one dog {i}", f"un chien {i}") for i in range(30)]
EN_JA = [(f"one cat {i}", f"猫が一匹{i}") for i in range(10)]
DIRECTIONS = "en-fr,ja:both"


def write(folder, name, tags, pairs):
    for tag, side in zip(tags, zip(*pairs, strict=True), strict=True):
        text = "".join(f"{line}\n" for line in side)
        (folder / f"{name}.{tag}").write_text(text, "utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpora")
    write(path, "train.en-fr", ("en", "fr"), EN_FR)
    write(path, "train.en-ja", ("en", "ja"), EN_JA)
    return path


@pytest.fixture(scope="module")
def spec(folder):
    return str(folder / "train.{pair}")


@pytest.fixture(scope="module")
def tokenizer(spec):
    corpus = open_directions(spec, DIRECTIONS)
    learned = train_tokenizer(corpus.sample(1000, 0), 330)
    return learned.with_targets(corpus.directions.targets)


def triples(dataset):
    return [
        (source.decode(), target.decode(), int(direction))
        for source, target, direction in dataset.as_numpy_iterator()
    ]


def test_each_direction_is_read_and_marked(spec):
    corpus = open_directions(spec, DIRECTIONS)
    back = [pair[::-1] for pair in EN_FR]
    expected = [*EN_FR, *back, *EN_JA, *(pair[::-1] for pair in EN_JA)]
    marks = [0] * 30 + [1] * 30 + [2] * 10 + [3] * 10
    assert list(corpus.pairs()) == expected
    assert triples(corpus.dataset()) == [
        (*pair, mark) for pair, mark in zip(expected, marks, strict=True)
    ]
    assert [part["pairs"] for part in corpus.contents()] == [30, 30, 10, 10]
    assert [part.name.split("/")[-1] for part in corpus.parts()] == [
        "train.en-fr (en-fr)",
        "train.en-fr (fr-en)",
        "train.en-ja (en-ja)",
        "train.en-ja (ja-en)",
    ]


def test_a_single_direction_is_a_plain_corpus_unless_marked(spec):
    assert not hasattr(open_directions(spec, "en-fr"), "directions")
    marked = open_directions(spec, "fr-en", is_marked=True)
    assert triples(marked.dataset())[0] == ("un chien 0", "one dog 0", 0)


@pytest.mark.parametrize(
    "mixing, shares",
    [
        ("proportional", [3 / 8, 3 / 8, 1 / 8, 1 / 8]),
        ("equal", [1 / 4] * 4),
        ("en-fr=1,fr-en=1,en-ja=1,ja-en=7", [0.1, 0.1, 0.1, 0.7]),
    ],
)
def test_training_draws_directions_by_their_shares(spec, mixing, shares):
    corpus = open_directions(
        spec, DIRECTIONS, mixing=parse_mixing(mixing, DIRECTIONS)
    )
    assert corpus.weights == pytest.approx(shares)
    drawn = triples(corpus.training_dataset(100, seed=3).take(2000))
    counts = collections.Counter(direction for _, _, direction in drawn)
    # The standard deviation of a share is 0.011 at most.
    found = [counts[number] / 2000 for number in range(4)]
    assert found == pytest.approx(shares, abs=0.045)
    # Epochs are each direction's own: every pair as often as the others.
    pairs = collections.Counter(x[:2] for x in drawn if x[2] == 2)
    assert max(pairs.values()) - min(pairs.values()) <= 1


def test_corpora_may_lack_directions_that_another_has(folder, spec, tmp_path):
    write(tmp_path, "more.fr-en", ("en", "fr"), [("oh", "oh"), ("a", "à")])
    more = str(tmp_path / "more.{pair}")
    corpus = open_directions(f"{spec},{more}", DIRECTIONS)
    assert [part["pairs"] for part in corpus.contents()] == [
        *(30, 2, 30, 2),
        *(10, 10),
    ]
    assert corpus.weights == pytest.approx([x / 84 for x in (32, 32, 10, 10)])
    assert corpus.notes == (f"{more} has nothing for en-ja, ja-en.",)
    with pytest.raises(CorpusError, match="there are pairs fr-en"):
        open_directions(more, DIRECTIONS)
    with pytest.raises(CorpusError, match=r"no .*nothing\.en-fr\.en"):
        open_directions(f"{spec},{tmp_path}/nothing.{{pair}}", DIRECTIONS)
    with pytest.raises(CorpusError, match="has sentences for en-it"):
        open_directions(f"{spec},{more}", "en-fr,it,ja")


def test_one_text_of_many_languages_needs_no_pair_in_its_name(tmp_path):
    for tag, line in (("en", "dog"), ("fr", "chien"), ("de", "Hund")):
        (tmp_path / f"val.{tag}").write_text(f"{line}\n")
    corpus = open_directions(str(tmp_path / "val"), "en-fr,fr-de")
    assert list(corpus.pairs()) == [("dog", "chien"), ("chien", "Hund")]


def test_a_direction_without_pairs_is_named(folder, tmp_path):
    write(tmp_path, "train.en-fr", ("en", "fr"), EN_FR)
    for tag in ("en", "ja"):
        (tmp_path / f"train.en-ja.{tag}").write_text("")
    corpus = open_directions(str(tmp_path / "train.{pair}"), "en-fr,ja")
    with pytest.raises(CorpusError, match=r"en-ja\).*it has no lines"):
        corpus.check()


def test_filters_know_the_languages_of_each_direction(tmp_path):
    write(tmp_path, "x.en-fr", ("en", "fr"), [("dog", "chien"), ("dog", "犬")])
    write(tmp_path, "x.en-ja", ("en", "ja"), [("dog", "dog"), ("dog", "犬")])
    corpus = open_directions(
        str(tmp_path / "x.{pair}"),
        "en-fr,ja",
        filters=FilterOptions(min_script_share=0.5),
    )
    assert list(corpus.pairs()) == [("dog", "chien"), ("dog", "犬")]
    reports = corpus.reports()
    assert [report.kept for report in reports] == [1, 1]
    assert reports[1].name.endswith("x.en-ja (en-ja)")


def test_wide_characters_count_more_in_ratios(tmp_path):
    # 17 letters to 6: three times as long, or 17 to 12.
    pairs = [("a dog and two cats", "犬と猫が二匹")]
    write(tmp_path, "x", ("en", "ja"), pairs)
    kept = [
        open_directions(
            str(tmp_path / "x"),
            "en-ja",
            filters=FilterOptions(max_ratio=2, wide_characters=wide),
        )
        .reports()[0]
        .kept
        for wide in (1.0, 2.0)
    ]
    assert kept == [0, 1]


OPTIONS = PipelineOptions(tokens_per_batch=64, max_length=40, shuffle_buffer=99)


def rows_of(batches, count):
    """`(source, target, direction)` of rows, ids without padding."""
    for batch in batches.take(count).as_numpy_iterator():
        rows = zip(
            batch["source"],
            batch["target_out"],
            batch["direction"],
            strict=True,
        )
        for source, target, direction in rows:
            yield (
                source[source != PAD_ID].tolist(),
                target[target != PAD_ID].tolist(),
                int(direction),
            )


def test_sources_begin_with_their_target_language(spec, tokenizer):
    corpus = open_directions(spec, DIRECTIONS)
    encoded = {
        (
            (
                tokenizer.targets[pair.target],
                *tokenizer.encode([source])[0],
                EOS_ID,
            ),
            (*tokenizer.encode([target])[0], EOS_ID),
            number,
        )
        for number, (pair, part) in enumerate(corpus.by_direction())
        for source, target in part.pairs()
    }
    found = rows_of(evaluation_batches(corpus, tokenizer, OPTIONS), -1)
    assert {(tuple(s), tuple(t), d) for s, t, d in found} == encoded
    trained = rows_of(training_batches(corpus, tokenizer, OPTIONS), 50)
    assert {(tuple(s), tuple(t), d) for s, t, d in trained} <= encoded


@pytest.mark.parametrize("static_shapes", [False, True])
def test_batches_of_one_direction(spec, tokenizer, static_shapes):
    corpus = open_directions(spec, DIRECTIONS)

    def directions(one_direction):
        options = PipelineOptions(
            tokens_per_batch=64,
            max_length=40,
            one_direction=one_direction,
            static_shapes=static_shapes,
        )
        batches = training_batches(corpus, tokenizer, options).take(40)
        return [
            set(batch["direction"].tolist())
            for batch in batches.as_numpy_iterator()
        ]

    alone, mixed = directions(True), directions(False)
    assert all(len(batch) == 1 for batch in alone)
    assert set.union(*alone) == {0, 1, 2, 3}
    assert any(len(batch) > 1 for batch in mixed)


def test_the_token_counts_in_the_length_limit(tmp_path, tokenizer):
    pairs = [("one dog", "un")]
    write(tmp_path, "x.en-fr", ("en", "fr"), pairs)
    length = len(tokenizer.encode(["one dog"])[0]) + 1
    corpus = open_directions(str(tmp_path / "x.{pair}"), "en-fr:both")
    part = corpus.parts()[0]
    for limit, too_long in ((length, 1), (length + 1, 0)):
        options = PipelineOptions(max_length=limit)
        assert count_too_long(part, tokenizer, options) == (too_long, 1)
    with pytest.raises(CorpusError, match=r"en-fr\) has no pair to train on"):
        training_batches(corpus, tokenizer, PipelineOptions(max_length=length))


def test_words_are_cut_at_random_and_tokens_never(spec, tokenizer):
    corpus = open_directions(spec, DIRECTIONS)
    options = PipelineOptions(
        tokens_per_batch=64, max_length=40, source_sampling=0.9
    )
    tokens = {*tokenizer.targets.values()}
    for source, _, _ in rows_of(
        training_batches(corpus, tokenizer, options), 20
    ):
        assert source[0] in tokens
        assert not tokens.intersection(source[1:])


def test_the_place_in_the_data_is_saved_and_restored(spec, tokenizer, tmp_path):
    corpus = open_directions(spec, DIRECTIONS)
    iterator = iter(training_batches(corpus, tokenizer, OPTIONS))
    for _ in range(7):
        next(iterator)
    path = tf.train.Checkpoint(batches=iterator).write(str(tmp_path / "here"))
    expected = [next(iterator) for _ in range(5)]
    again = iter(training_batches(corpus, tokenizer, OPTIONS))
    tf.train.Checkpoint(batches=again).read(path)
    for batch in expected:
        other = next(again)
        for name in batch:
            assert batch[name].numpy().tolist() == other[name].numpy().tolist()
