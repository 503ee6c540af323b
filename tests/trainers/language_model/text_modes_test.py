"""Lines in, lines out: scores, n-best lists, continuations."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from language_model.words import count_words
from trainers.engine.config.presets import preset_named
from trainers.language_model.folder import LmFolder, build_model
from trainers.language_model.presets import PRESETS
from trainers.language_model.text_modes import (
    LineContinuer,
    LineScorer,
    NBestLine,
    Reranker,
    n_best_lists,
)
from translation.text.text_files import CorpusError

WORDS = count_words(["a dog sleeps", "the cat sees it"], 20)
SIZES = ["vocabulary_kind=words", "vocab_size=11", "depth=8", "lstm_units=8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    config = preset_named(PRESETS, "small", [*SIZES, "num_experts=4"])
    folder = LmFolder(tmp_path_factory.mktemp("model"))
    folder.save_model(config, build_model(config), WORDS)
    return folder


def test_score_is_the_sum_over_the_subwords(folder):
    lines = ["a dog", "", "the cat sees it"]
    model, _ = folder.load_model(folder.load_config())
    for line, scored in zip(lines, LineScorer(folder.path)(lines), strict=True):
        log_prob, words, each = scored.split("\t")
        assert words.split() == [*line.split(), "</s>"]
        each = [float(x) for x in each.split()]
        assert sum(each) == pytest.approx(float(log_prob), abs=1e-3)
        ids = np.array([[1, *WORDS.encode([line])[0]]])
        logits = tf.nn.log_softmax(model(ids))[0]
        targets = [*ids[0, 1:], 2]
        expected = [float(logits[n, t]) for n, t in enumerate(targets)]
        np.testing.assert_allclose(each, expected, atol=1e-4)


def test_reranking_adds_the_weighted_log_probability():
    class Scorer:
        def log_probs(self, texts):
            return [float(text) for text in texts]

    lines = ["0 ||| -9 ||| -1", "0 ||| -2 ||| -2 ||| x", "1 ||| -1 ||| 0"]
    lists = [one for [one] in n_best_lists([lines[:1], lines[1:]])]
    # -1 - 0.5 * 9 = -5.5 and -2 - 0.5 * 2 = -3: the second is better.
    assert Reranker(Scorer(), 0.5)(lists) == [
        "0 ||| -2 ||| -3.0000 ||| x",
        "0 ||| -9 ||| -5.5000",
        "1 ||| -1 ||| -0.5000",
    ]


def test_line_that_is_of_no_list_is_named():
    with pytest.raises(CorpusError, match="Line 2: .*'text'"):
        list(n_best_lists([["0 ||| a ||| -1", "text"]]))
    assert NBestLine.read("0 ||| a ||| -1", 1).score == -1


def test_continuations_begin_with_their_lines(folder):
    lines = ["a dog", "the cat sees", ""]
    found = LineContinuer(folder.path, ["max_tokens=4"])(lines)
    assert len(found) == 3
    for line, text in zip(lines, found, strict=True):
        assert text.startswith(line)
        assert len(text.split()) <= len(line.split()) + 4
        assert "<unk>" not in text


def test_samples_are_numbered_over_all_groups(folder):
    continue_lines = LineContinuer(folder.path, ["max_tokens=2"], samples=2)
    found = continue_lines(["a", "a dog"]) + continue_lines(["it"])
    assert [line.split(" ||| ")[0] for line in found] == list("001122")


def test_seed_and_number_decide_what_is_drawn(folder):
    lines = 4 * ["a"]
    one, other = (LineContinuer(folder.path)(lines) for _ in range(2))
    assert one == other
    assert len(set(one)) > 1  # lines of another number
    assert LineContinuer(folder.path, ["generate.seed=1"])(lines) != one


def test_no_temperature_takes_the_most_probable(folder):
    [text] = LineContinuer(folder.path, ["temperature=0", "max_tokens=1"])(
        ["a dog"]
    )
    model, _ = folder.load_model(folder.load_config())
    ids = np.array([[1, *WORDS.encode(["a dog"])[0]]])
    scores = model(ids)[0, -1].numpy()
    scores[[0, 1, 3]] = -np.inf  # pad, bos and unk are never drawn
    best = WORDS.decode([[*ids[0, 1:], int(scores.argmax())]])
    assert text == best[0]


@pytest.mark.slow
def test_a_prompt_is_read_as_the_sequence_is(folder):
    """Prompts of several lengths in one batch, against each alone."""
    prompts = ["a", "the cat sees it", "dog sleeps"]
    options = ["temperature=0", "max_tokens=6"]
    together = LineContinuer(folder.path, options)(prompts)
    alone = [LineContinuer(folder.path, options)([p])[0] for p in prompts]
    assert together == alone


def test_options_out_of_range_are_named(folder):
    generate = folder.load_config().generate
    for field, value in (("temperature", -1.0), ("top_p", 0.0)):
        with pytest.raises(ValueError, match=f"`{field}`"):
            dataclasses.replace(generate, **{field: value})
