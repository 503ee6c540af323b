"""Training a small language model: what it leaves, and exact resume."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from language_model.batches import BatchOptions
from language_model.config import LanguageModelConfig
from moe_keras.monitoring import routing_layers
from trainers.engine.checkpoints.average import save_average
from trainers.engine.config.loop_config import LoopConfig
from trainers.language_model import task
from trainers.language_model.folder import LmFolder
from trainers.language_model.presets import LmConfig

LINES = ["one dog runs", "two dogs run", "one cat sleeps", "two cats sleep"]
SMALL = LmConfig(
    vocabulary_kind="words",
    dev_lines=0,
    model=LanguageModelConfig(
        vocab_size=20,
        depth=8,
        lstm_units=8,
        num_experts=4,
        experts_per_token=2,
        expert_hidden_dim=8,
    ),
    loop=LoopConfig(
        steps=4, warmup_steps=1, evaluate_every=2, save_every=2, log_every=2
    ),
    batches=BatchOptions(rows=2, time_steps=3, window=3, shuffle_buffer=4),
)


@pytest.fixture
def config(tmp_path):
    paths = {}
    for split in ("train", "dev", "test"):
        path = tmp_path / f"{split}.txt"
        path.write_text("".join(f"{line}\n" for line in 8 * LINES))
        paths[split] = str(path)
    return dataclasses.replace(SMALL, **paths)


def _weights(folder, config):
    model, _ = LmFolder(folder).load_model(config)
    return {weight.path: weight.numpy() for weight in model.weights}


def test_best_model_of_deep_experts_is_read_again(config, tmp_path):
    model = dataclasses.replace(config.model, expert_hidden_layers=2)
    config = dataclasses.replace(config, model=model)
    results = task.train_and_evaluate(config, tmp_path / "run", lambda _: None)
    assert results["steps"] == 4 and np.isfinite(results["perplexity"])


def test_run_leaves_figures_and_a_model(config, tmp_path):
    lines = []
    results = task.train_and_evaluate(config, tmp_path / "run", lines.append)
    assert results["words"] == 8 * (12 + 4)  # three words and an end a line
    assert results["steps"] == 4
    folder = LmFolder(tmp_path / "run")
    model, words = folder.load_model(folder.load_config())
    assert words.vocab_size == model.config.vocab_size == 4 + 10
    assert len(routing_layers(model)) == 1
    assert any(line.startswith("Perplexity") for line in lines)
    # What was exported writes what the trained model has written.
    said = [line for line in lines if line.startswith("SavedModel")]
    assert said and "writes 5 of 5 of these texts to the letter" in said[0]
    card = json.loads(
        (tmp_path / "run/export/1/assets.extra/card.json").read_text()
    )
    assert card["figures"]["perplexity"] == results["perplexity"]
    assert card["data"]["train"] == "train.txt"
    assert str(tmp_path) not in json.dumps(card)


@pytest.mark.slow
def test_export_takes_another_precision_and_other_options(config, tmp_path):
    task.train_and_evaluate(config, tmp_path / "run", lambda line: None)
    half = task.export(tmp_path / "run", ["temperature=0"], "bfloat16", 5)
    assert half == tmp_path / "run/export/2"
    card = json.loads((half / "assets.extra/card.json").read_text())
    assert card["generate"]["temperature"] == 0
    assert card["sizes"]["max_subwords"] == 5
    assert card["sizes"]["weights_dtypes"] == ["bfloat16", "float32"]
    lines = tf.constant(LINES)
    whole = tf.saved_model.load(str(tmp_path / "run/export/1"))
    found, expected = (
        loaded.signatures["score"](inputs=lines)["token_log_probs"].numpy()
        for loaded in (tf.saved_model.load(str(half)), whole)
    )
    # Eight bits of a mantissa are steps of 0.4 %, through five layers.
    np.testing.assert_allclose(found, expected, rtol=0.03, atol=0.01)
    assert np.any(found != expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"softmax": "sampled", "sampled_candidates": 5},
        {"carry_state": False},
        {"batches": dataclasses.replace(SMALL.batches, by_lines=True)},
    ],
    ids=["running", "sampled", "no_state", "lines"],
)
def test_stopped_run_ends_as_one_that_was_not(config, tmp_path, changes):
    config = dataclasses.replace(config, **changes)
    half = dataclasses.replace(
        config, loop=dataclasses.replace(config.loop, steps=2)
    )
    task.train_and_evaluate(config, tmp_path / "whole", lambda line: None)
    for one in (half, config):
        task.train_and_evaluate(one, tmp_path / "halves", lambda line: None)
    config = LmFolder(tmp_path / "whole").load_config()
    whole, halves = (
        _weights(tmp_path / name, config) for name in ("whole", "halves")
    )
    for path, value in whole.items():
        np.testing.assert_array_equal(value, halves[path], err_msg=path)


@pytest.mark.slow
def test_model_learns_what_follows(config, tmp_path):
    """10 words: chance is 10; of what stands in the text 3 or 4 are left."""
    loop = dataclasses.replace(
        config.loop, steps=120, learning_rate=0.02, evaluate_every=60
    )
    config = dataclasses.replace(config, loop=loop)
    results = task.train_and_evaluate(config, tmp_path, lambda line: None)
    assert results["perplexity"] < 3


def test_evaluation_by_labels(config, tmp_path):
    task.train_and_evaluate(config, tmp_path / "run", lambda line: None)
    labels = tmp_path / "labels"
    labels.write_text("dog\ndog\ncat\ncat\n" * 8)
    found = task.evaluate(
        tmp_path / "run", labels=str(labels), log=lambda line: None
    )
    assert list(found["by_label"]) == ["cat", "dog"]
    nll = [
        np.log(part["perplexity"]) * part["words"]
        for part in (found, *found["by_label"].values())
    ]
    assert nll[0] == pytest.approx(nll[1] + nll[2])


def test_mean_of_checkpoints_is_a_model_folder(config, tmp_path):
    loop = dataclasses.replace(config.loop, keep_best=2)
    config = dataclasses.replace(config, loop=loop)
    task.train_and_evaluate(config, tmp_path / "run", lambda line: None)
    path = save_average(LmFolder(tmp_path / "run"), "last", lambda line: None)
    assert task.evaluate(path, log=lambda line: None)["words"] == 128


def test_candidates_by_counts_need_words(config, tmp_path):
    config = dataclasses.replace(
        config,
        vocabulary_kind="subwords",
        softmax="sampled",
        sampled_by="counts",
    )
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, vocab_size=300)
    )
    with pytest.raises(ValueError, match="needs vocabulary_kind=words"):
        task.train_and_evaluate(config, tmp_path / "run", lambda line: None)
