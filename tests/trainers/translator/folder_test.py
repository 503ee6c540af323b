"""The folder of a run: what it refuses, and what it never loses."""

import dataclasses
import json

import keras
import pytest
from small_runs import SMALL

from trainers.engine.checkpoints.identity import agree
from trainers.engine.config.overrides import with_overrides
from trainers.engine.folder.files import FolderError
from trainers.translator import folder as model_folder
from trainers.translator.fields import identity, score_identity
from trainers.translator.folder import ModelFolder, build_model
from translation.text.tokenizer.tokenizer import Tokenizer
from translation.text.tokenizer.training import train_tokenizer

CONFIG = with_overrides(
    SMALL,
    ["depth=4", "lstm_units=4", "encoder_layers=3", "decoder_layers=2"],
)


@pytest.fixture
def folder(tmp_path):
    folder = ModelFolder(tmp_path / "runs/one")
    folder.save_config(CONFIG)
    return folder


def _sizes(model):
    return {weight.path: tuple(weight.shape) for weight in model.weights}


def test_nothing_is_made_before_something_is_saved(tmp_path):
    folder = ModelFolder(tmp_path / "runs/one")
    folder.check_same(CONFIG)
    assert folder.load_results(CONFIG) is None
    assert not (tmp_path / "runs").exists()


def test_home_is_expanded_and_a_url_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    ModelFolder("~/run").save_config(CONFIG)
    assert (tmp_path / "run/config.json").exists()
    with pytest.raises(FolderError, match="no URLs.*'gs://bucket/run'"):
        ModelFolder("gs://bucket/run")


def test_configuration_comes_back_equal(folder):
    assert folder.load_config() == CONFIG
    other = with_overrides(
        CONFIG,
        [
            "encoder_moe_after=(1, 3)",
            "capacity_factor=1.5",
            "steps=9",
            "gate_options=noise_epsilon=0.1",
        ],
    )
    folder.save_config(other)
    assert folder.load_config() == other


@pytest.mark.parametrize(
    "change, message",
    [
        ("pair=en-de", r"pair \(there 'en-fr', now 'en-de'\)"),
        ("vocabulary_type=bpe", r"vocabulary_type \(there 'unigram'"),
        ("precision=mixed_bfloat16", r"precision \(there 'float32'"),
        ("gate_options=seed=3", r"model.gate_options \(there '', now 'seed=3'"),
        ("depth=8", r"model.depth \(there 4, now 8\)"),
        ("decoder_moe_after=2", r"model.decoder_moe_after \(there \(1,\)"),
    ],
)
def test_another_model_is_refused_and_the_field_named(folder, change, message):
    with pytest.raises(FolderError, match=message):
        folder.check_same(with_overrides(CONFIG, [change]))


def test_corpus_that_has_moved_may_be_told_to_the_folder(folder):
    moved = with_overrides(CONFIG, ["train=elsewhere/train"])
    with pytest.raises(FolderError, match="write its place into .*config.json"):
        folder.check_same(moved)
    with pytest.raises(FolderError) as error:
        folder.check_same(with_overrides(moved, ["depth=6"]))
    assert "write its place" not in str(error.value)


@pytest.mark.parametrize(
    "change", ["steps=9", "learning_rate=0.1", "beam_width=3", "dev=mine"]
)
def test_what_is_not_the_model_may_change(folder, change):
    folder.check_same(with_overrides(CONFIG, [change]))


def test_interrupted_write_leaves_the_old_vocabulary(folder):
    class Disk:
        def save(self, path):
            path.write_bytes(b"half")
            raise OSError("No space left on device")

    folder.save_tokenizer(train_tokenizer(["one dog", "un chien"], 280))
    with pytest.raises(OSError, match="No space left"):
        folder.save_tokenizer(Disk())
    assert Tokenizer.load(folder.tokenizer_path).vocab_size


def test_identity_leaves_out_where_the_corpus_is(folder):
    fields = identity(CONFIG)
    assert fields["model.depth"] == 4 and fields["pair"] == "en-fr"
    assert "train" not in fields and "loop.steps" not in fields
    moved = with_overrides(CONFIG, ["train=elsewhere", "steps=9"])
    assert identity(moved) == fields
    with pytest.raises(FolderError, match="train .there 'phrasebook'"):
        folder.check_same(moved)


def test_score_depends_on_the_dev_corpus_and_the_search():
    fields = score_identity(CONFIG, "01")
    for change in ("dev=other", "dev_sentences=3", "beam_width=3"):
        assert score_identity(with_overrides(CONFIG, [change]), "01") != fields
    for change in ("test=other", "steps=9", "learning_rate=0.1"):
        assert score_identity(with_overrides(CONFIG, [change]), "01") == fields


def test_place_of_the_dev_corpus_does_not_change_the_score():
    fields = score_identity(CONFIG, "01")
    assert agree(
        score_identity(with_overrides(CONFIG, ["dev=moved"]), "01"), fields
    )
    assert not agree(score_identity(CONFIG, "02"), fields)
    assert not agree(
        score_identity(with_overrides(CONFIG, ["dev_sentences=3"]), "01"),
        fields,
    )


def test_results_are_readable_by_people(folder):
    results = {"bleu": 1.5, "config": dataclasses.asdict(CONFIG)}
    results["examples"] = [{"source": "Où est-ce ?"}]
    folder.save_results(results)
    # JSON has no tuples: what comes back equals what was written otherwise.
    assert folder.load_results(CONFIG)["examples"] == results["examples"]
    text = (folder.path / "results.json").read_text(encoding="utf-8")
    assert "Où est-ce ?" in text and text.count("\n") > 3
    assert json.loads(text)["examples"] == results["examples"]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_model_is_built_in_its_precision_which_is_then_put_back(precision):
    before = keras.config.dtype_policy()
    model = build_model(with_overrides(CONFIG, [f"precision={precision}"]))
    assert keras.config.dtype_policy() is before
    layers = model._flatten_layers()
    assert {layer.dtype_policy.name for layer in layers if layer.weights} == {
        precision
    }
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


def test_precision_is_put_back_when_the_model_fails(monkeypatch):
    def fail(*_, **__):
        raise ValueError("too large")

    before = keras.config.dtype_policy()
    monkeypatch.setattr(model_folder, "Translator", fail)
    with pytest.raises(ValueError, match="too large"):
        build_model(with_overrides(CONFIG, ["precision=mixed_bfloat16"]))
    assert keras.config.dtype_policy() is before


def test_two_models_of_one_configuration_have_the_same_names():
    sizes = _sizes(build_model(CONFIG))
    assert all(path.startswith("translator/") for path in sizes)
    assert _sizes(build_model(CONFIG)) == sizes


def test_folder_without_checkpoint_says_to_train_on(folder):
    tokenizer = train_tokenizer(["one dog", "two cats", "un chien"], 280)
    tokenizer.save(folder.tokenizer_path)
    with pytest.raises(FolderError, match="No checkpoint in .*best yet"):
        folder.load_model(folder.load_config())


def test_folder_without_vocabulary_names_the_file(folder):
    with pytest.raises(ValueError, match="tokenizer.model: No such file"):
        folder.load_model(CONFIG)


def test_only_the_search_of_a_trained_model_can_be_changed(folder):
    changed = folder.load_config(["beam_width=7"])
    assert changed.search.beam_width == 7
    with pytest.raises(FolderError, match="only these fields .*beam_width"):
        folder.load_config(["dropout=0.5"])


def test_what_is_no_configuration_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"pair": 3}')
    with pytest.raises(FolderError, match="a pair that is none. Received: 3"):
        ModelFolder(tmp_path).load_config()
