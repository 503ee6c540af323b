"""Studies of layers: specialists are found, examples are what they say."""

import dataclasses
import json
import math

import numpy as np
import pytest

from moe_keras.analysis import (
    Extent,
    LayerStudy,
    RoutedTokens,
    markdown,
    study_layer,
)


def _corpus():
    """Three sentences over three experts, one and two for a token."""
    routed = RoutedTokens(num_experts=3)
    routed.add("a big dog".split(), [[0], [1], [2]], [[0.9], [0.6], [0.5]])
    routed.add(["a", "dog"], [[0, 1], [2, -1]], [[0.7, 0.3], [1.0, 0.0]])
    routed.add(["a"], [[1]], [[0.8]])
    return routed


def test_figures_of_a_corpus_worked_by_hand():
    study = study_layer("moe", _corpus())
    assert (study.sentences, study.tokens) == (3, 6)
    assert study.mean_k == pytest.approx(7 / 6)
    # One token has two experts, of gates 0.7 and 0.3.
    assert study.first_gate == pytest.approx((5 + 0.7) / 6)
    # Choices: expert 0 twice, 1 three times, 2 twice.
    load = np.array([2, 3, 2]) / 7
    assert study.entropy == pytest.approx(-np.sum(load * np.log2(load)))
    # Of seven choices two are one of two experts of their token: a bit each.
    assert study.possible == pytest.approx(study.entropy - 2 / 7)
    assert [p.load for p in study.experts] == pytest.approx(load.tolist())
    gates = np.array([0.9 + 0.7, 0.6 + 0.3 + 0.8, 0.5 + 1.0])
    assert [p.importance for p in study.experts] == pytest.approx(
        (gates / gates.sum()).tolist()
    )


def test_tokens_of_an_expert_are_sorted_by_mean_gate():
    study = study_layer("moe", _corpus(), Extent(rarest=1))
    big, a = study.experts[1].tokens
    assert (big.token, big.count, big.share, big.gate) == ("big", 1, 1.0, 0.6)
    # Of three "a" two came to expert 1, with gates 0.3 and 0.8.
    assert (a.token, a.count) == ("a", 3)
    assert (a.share, a.gate) == pytest.approx((2 / 3, 1.1 / 3))
    often = study_layer("moe", _corpus(), Extent(rarest=2))
    assert [use.token for use in often.experts[1].tokens] == ["a"]


def test_contexts_stay_within_their_sentence_and_are_not_repeated():
    routed = _corpus()
    routed.add(["a", "dog"], [[2], [2]], [[0.2], [1.0]])  # as the second
    study = study_layer("moe", routed, Extent(width=1))
    shown = [
        (c.gate, c.before, c.token, c.after) for c in study.experts[2].contexts
    ]
    assert shown == [
        (1.0, "a", "dog", ""),
        (0.5, "big", "dog", ""),
        (0.2, "", "a", "dog"),
    ]
    few = study_layer("moe", routed, Extent(contexts=1, join="".join))
    assert [c.after for c in few.experts[0].contexts] == ["bigdog"]


def test_token_that_joins_to_nothing_is_shown_by_its_name():
    routed = RoutedTokens(num_experts=1)
    routed.add(["_How", "_", "many"], [[0]] * 3, [[0.5], [1.0], [0.2]])
    extent = Extent(join=lambda names: "".join(names).replace("_", " "))
    context = study_layer("moe", routed, extent).experts[0].contexts[0]
    assert (context.before, context.token, context.after) == (
        " How",
        "_",
        "many",
    )


def test_ways_of_frequent_tokens():
    study = study_layer("moe", _corpus(), Extent(routes=2))
    a, dog = study.routes
    assert (a.token, a.count, a.shares) == ("a", 3, (0.5, 0.5, 0.0))
    assert (dog.token, dog.count, dog.shares) == ("dog", 2, (0.0, 0.0, 1.0))


def test_planted_specialist_is_found():
    random = np.random.default_rng(0)
    routed = RoutedTokens(num_experts=8)
    for _ in range(300):
        tokens = [f"w{n}" for n in random.integers(0, 30, 10)]
        experts = random.permuted(np.tile(np.arange(8), (10, 1)), axis=1)
        experts = experts[:, :2]
        # As a second choice, and never the first.
        other = random.choice([0, 1, 2, 3, 4, 6, 7])
        tokens[4], experts[4] = "research", [other, 5]
        routed.add(tokens, experts, np.tile([0.7, 0.3], (10, 1)))
    study = study_layer("moe", routed)
    best = max(study.experts, key=lambda profile: profile.speciality)
    assert best.expert == 5
    others = [p.speciality for p in study.experts if p.expert != 5]
    assert best.speciality > 5 * max(others)
    assert (best.tokens[0].token, best.tokens[0].share) == ("research", 1.0)
    assert {c.token for c in best.contexts} != {"research"}  # gate 0.3 only
    by_name = {(i.name, i.given): i for i in study.information}
    assert by_name["token", None].is_seen
    assert not by_name["position", "token"].is_seen


def test_random_routing_shows_nothing():
    random = np.random.default_rng(1)
    routed = RoutedTokens(num_experts=4)
    for number in range(200):
        routed.add(
            [f"w{n}" for n in random.integers(0, 20, 12)],
            random.integers(0, 4, (12, 1)),
            np.ones((12, 1)),
            label="even" if number % 2 else "odd",
        )
    study = study_layer("moe", routed)
    names = [(found.name, found.given) for found in study.information]
    assert names == [
        ("token", None),
        ("position", None),
        ("label", None),
        ("position", "token"),
        ("label", "token"),
    ]
    for found in study.information:
        assert abs(found.share) < 0.01
        assert abs(found.corrected) < 3 * found.shuffled_spread
    assert all(abs(p.speciality) < 0.02 for p in study.experts)


def test_label_that_decides_is_all_there_is():
    routed = RoutedTokens(num_experts=4)
    for number in range(60):
        pair = [[0, 1], [2, 3]][number % 2]  # each a bit beside the label's
        routed.add(list("xy"), [pair, pair], np.full((2, 2), 0.5), number % 2)
    study = study_layer("moe", routed)
    by_name = {(i.name, i.given): i for i in study.information}
    label = by_name["label", None]
    assert (study.entropy, study.possible) == pytest.approx((2.0, 1.0))
    assert label.bits == pytest.approx(1.0) and label.is_seen
    assert by_name["token", None].bits == pytest.approx(0.0, abs=1e-12)
    assert not by_name["token", None].is_seen


def test_idle_expert_and_tokens_without_one():
    routed = RoutedTokens(num_experts=3)
    routed.add(["a", "b"], [[0], [-1]], [[1.0], [0.0]])
    routed.add(["c"], [[1]], [[1.0]])
    study = study_layer("moe", routed)
    assert study.without_expert == 1
    assert study.experts[2].speciality is None
    assert study.experts[2].tokens == study.experts[2].contexts == ()
    assert math.isfinite(study.information[0].share)


def test_study_survives_json():
    study = study_layer("moe", _corpus(), Extent(rarest=1))
    text = json.dumps(dataclasses.asdict(study))
    assert LayerStudy.from_dict(json.loads(text)) == study


def test_text_of_a_corpus_means_nothing_to_markdown():
    routed = RoutedTokens(num_experts=1)
    routed.add(["a|b", "*x*", "<i>"], [[0]] * 3, [[1.0]] * 3)
    page = markdown([study_layer("moe_1", routed)], "one")
    assert "## moe\\_1" in page
    assert r"**\*x\*** \<i\>" in page and r"a\|b" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {row.replace(r"\|", "").count("|") for row in rows} == {4, 6, 7}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((["a"], [0], [1.0]), "a row for each token.*shape .1,. for 1"),
        ((["a"], [[0], [1]], [[1.0]] * 2), r"shape \(2, 1\) for 1 tokens"),
        ((["a"], [[0]], [[1.0, 0.0]]), "`gate` must have the shape"),
        ((["a"], [[3]], [[1.0]]), "below num_experts=3. Received: 3"),
        ((["a"], [[0]], [[1.0]], "x"), "all sentences or for none.*label='x'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        _corpus().add(*arguments)


def test_factors_are_the_same_for_all_sentences():
    with pytest.raises(ValueError, match="next.*before.*position"):
        _corpus().add(["a"], [[0]], [[1.0]], next=["b"])
    with pytest.raises(ValueError, match="`next` must have a value for each"):
        RoutedTokens(2).add(["a"], [[0]], [[1.0]], next=[])


def test_nothing_to_study_is_said():
    with pytest.raises(ValueError, match="Received: 0 tokens and no choices"):
        study_layer("moe", RoutedTokens(2))
