"""Each rule drops what it should, counts it and shows it."""

import pytest

from translation.text.corpora.pair_filters import (
    FilterOptions,
    FilterReport,
    PairFilters,
)
from translation.text.text_files import CorpusError


def run(options, *chunks, pair="en-fr"):
    filters, report = PairFilters(options, pair), FilterReport("corpus")
    kept = [filters.keep(list(chunk), report).tolist() for chunk in chunks]
    return sum(kept, []), report


@pytest.mark.parametrize(
    "options, pairs, kept, reason",
    [
        (
            FilterOptions(),
            [("a", "b"), ("", "b"), ("a", " \t"), ("a", "b"), ("\u3000", "b")],
            [True, False, False, True, False],
            "an empty side",
        ),
        (
            FilterOptions(max_characters=3),
            [("abc", "äöü"), ("abcd", "a"), ("a", " abc "), ("a", "abcd")],
            [True, False, True, False],
            "over 3 characters",
        ),
        (
            FilterOptions(max_ratio=1.5),
            [("ab", "xyz"), ("ab", "xyzz"), ("abcd", "ab"), ("abc", "ab")],
            [True, False, False, True],
            "one side over 1.5 times as long",
        ),
        (
            FilterOptions(drop_identical=True),
            [("Paris", "Paris "), ("Paris", "paris"), ("a", "b")],
            [False, True, True],
            "two sides alike",
        ),
        (
            FilterOptions(min_script_share=0.5),
            [("ab", "cd"), ("ab вг", "x"), ("ab вгд", "x"), ("x", "Привет")],
            [True, True, False, False],
            "under 50% of letters in the language's script",
        ),
        (
            FilterOptions(drop_duplicates=True),
            [("a", "b"), ("a", "c"), ("b", "a"), ("a", "b"), ("a", "b")],
            [True, True, True, False, False],
            "a pair seen before",
        ),
    ],
)
def test_each_rule(options, pairs, kept, reason):
    answers, report = run(options, pairs)
    assert answers == kept
    assert report.dropped == {reason: kept.count(False)}
    assert (report.pairs, report.kept) == (len(kept), kept.count(True))
    number, *_ = report.examples[reason][0]
    assert number == kept.index(False) + 1


def test_the_first_rule_that_is_broken_counts():
    options = FilterOptions(
        max_characters=4, max_ratio=2, drop_identical=True, drop_duplicates=True
    )
    pairs = [("abcde", "abcde"), ("a", "abc"), ("ab", "ab"), ("ab", "cd")]
    _, report = run(options, pairs, pairs)
    assert report.dropped == {
        "over 4 characters": 2,
        "one side over 2 times as long": 2,
        "two sides alike": 2,
        "a pair seen before": 1,
    }
    assert (report.pairs, report.kept) == (8, 1)


def test_report_names_places_across_chunks():
    chunks = [[("a", "b")] * 3, [("", "b"), ("a", "b"), ("x" * 99, "")]]
    _, report = run(FilterOptions(), *chunks)
    assert [example[0] for example in report.examples["an empty side"]] == [
        4,
        6,
    ]
    assert list(report.lines()) == [
        "corpus: 4 of 6 pairs are kept (66.7%).",
        "  2 an empty side, such as pair 4:  | b",
    ]
    assert report.examples["an empty side"][1][1] == "x" * 56 + " ..."


def test_a_few_examples_are_enough():
    _, report = run(FilterOptions(), [("", "b")] * 50, [("", "b")] * 50)
    assert [e[0] for e in report.examples["an empty side"]] == [1, 2, 3]
    assert report.dropped == {"an empty side": 100}


def test_a_language_without_known_script():
    with pytest.raises(CorpusError, match="'xx'"):
        PairFilters(FilterOptions(min_script_share=0.5), "en-xx")
    PairFilters(FilterOptions(), "en-xx")


@pytest.mark.parametrize(
    "name, value",
    [("max_characters", -1), ("max_ratio", 0.5), ("min_script_share", 1.1)],
)
def test_options_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}`.*{name}={value}"):
        FilterOptions(**{name: value})
