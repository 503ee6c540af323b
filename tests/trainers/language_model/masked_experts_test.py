"""Experts that give zeros, against a model whose expert has no output."""

import json

import numpy as np
import pytest
from small_language_models import LINES

from language_model.batches import BatchOptions
from language_model.words import count_words
from moe_keras.analysis import RoutedTokens
from moe_keras.monitoring import routing_layers
from trainers.engine.config.presets import preset_named
from trainers.language_model.evaluation import LineLikelihoods
from trainers.language_model.folder import LmFolder, build_model
from trainers.language_model.masked_experts import (
    masked,
    specialised,
    study_masked,
)
from trainers.language_model.presets import PRESETS

LABELS = ["dog", "cat", "dog"]
WORDS = count_words(LINES, 20)
CONFIG = preset_named(
    PRESETS,
    "small",
    [
        "vocabulary_kind=words",
        f"vocab_size={WORDS.vocab_size}",
        "depth=8",
        "lstm_units=8",
        "num_experts=4",
    ],
)


def small_model():
    model = build_model(CONFIG)
    random = np.random.default_rng(3)
    for weight in model.trainable_variables:
        weight.assign(0.5 * random.normal(size=weight.shape))
    return model


def test_experts_are_ordered_by_choices_beyond_the_share_of_a_label():
    routed = RoutedTokens(num_experts=3)
    # Label a: 4 choices of expert 0, 2 of 1. Label b: 2 of 1, 2 of 2.
    routed.add(list("wxyz"), [[0], [0], [0], [0]], np.ones((4, 1)), label="a")
    routed.add(list("wx"), [[1], [1]], np.ones((2, 1)), label="a")
    routed.add(list("wxyz"), [[1], [1], [2], [2]], np.ones((4, 1)), label="b")
    # Shares 0.6 and 0.4. Beyond: 0 has 4 - 4 x 0.6 = 1.6 of a, 2 has
    # 2 - 2 x 0.4 = 1.2 of b, 1 has 2 - 4 x 0.4 = 0.4 of b.
    found = specialised(routed, 3)
    assert [x[:2] for x in found] == [(0, "a"), (2, "b"), (1, "b")]
    assert [x[2] for x in found] == [1.0, 1.0, 0.5]
    np.testing.assert_allclose([x[3] for x in found], [0.6, 0.4, 0.4])


def test_a_masked_expert_gives_zeros_and_comes_back():
    model = small_model()
    (layer,) = routing_layers(model)
    inputs = np.random.default_rng(0).normal(size=(9, 8)).astype("float32")
    before = layer.experts.kernel_out.numpy()
    slots, counts = inputs, [3, 2, 4, 0]
    whole = layer.experts(slots, counts=counts).numpy()
    with masked(layer, 2):
        without = layer.experts(slots, counts=counts).numpy()
    np.testing.assert_array_equal(without[5:9], 0 * whole[5:9])  # expert 2
    np.testing.assert_array_equal(without[:5], whole[:5])
    np.testing.assert_array_equal(layer.experts.kernel_out, before)


def test_costs_are_differences_of_likelihoods_by_label(tmp_path):
    folder = LmFolder(tmp_path / "run")
    model = small_model()
    folder.save_model(CONFIG, model, WORDS)
    (tmp_path / "test.txt").write_text("".join(f"{x}\n" for x in LINES))
    (tmp_path / "labels").write_text("".join(f"{x}\n" for x in LABELS))
    found = study_masked(
        folder.path,
        3,
        str(tmp_path / "test.txt"),
        str(tmp_path / "labels"),
        log=lambda line: None,
    )
    likelihoods = LineLikelihoods(model, WORDS, BatchOptions(), goes_on=False)
    (layer,) = routing_layers(model)

    def mean(label):
        nll = [
            n
            for n, name in zip(likelihoods(LINES), LABELS, strict=True)
            if name == label
        ]
        return np.concatenate(nll).mean()

    assert len({x.expert for x in found}) >= 2
    for expert in found:
        whole = mean(expert.label)
        with masked(layer, expert.expert):
            lost = mean(expert.label) - whole
        np.testing.assert_allclose(expert.own, lost, atol=1e-5)
        assert expert.own != 0
    stored = json.loads((folder.path / "masked_experts.json").read_text())
    assert [x["expert"] for x in stored] == [x.expert for x in found]
    assert (
        "lost on its label" in (folder.path / "masked_experts.md").read_text()
    )


def test_labels_are_asked_for(tmp_path):
    with pytest.raises(ValueError, match="give a file with a label"):
        study_masked(tmp_path, 2)


def test_one_expert_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mask at least 2"):
        study_masked(tmp_path, 1, labels="labels")
