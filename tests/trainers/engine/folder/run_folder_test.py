"""The folder of a run: what it refuses, and what it never loses."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest

from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.config.overrides import with_overrides
from trainers.engine.config.stored import ConfigRules
from trainers.engine.folder.files import FolderError
from trainers.engine.folder.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class Search:
    width: int = 4


@dataclasses.dataclass(frozen=True)
class Config:
    depth: int = 8
    places: tuple[int, ...] = (1, 2)
    name: str = "Où"
    loop: LoopConfig = LoopConfig()
    search: Search = Search()


RULES = ConfigRules(
    Config, fixed=("depth", "places", "loop.seed"), open=("search.",)
)
CONFIG = Config()


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "runs/one", RULES)
    folder.save_config(CONFIG)
    return folder


def test_nothing_is_made_before_something_is_saved(tmp_path):
    folder = RunFolder(tmp_path / "runs/one", RULES)
    folder.check_same(CONFIG)
    folder.check_nothing_is_lost()
    assert folder.load_results(CONFIG) is None and not folder.has_config()
    assert not (tmp_path / "runs").exists()


def test_configuration_comes_back_equal(folder):
    assert folder.load_config() == CONFIG
    other = with_overrides(CONFIG, ["places=3", "steps=9", "width=2"])
    folder.save_config(other)
    assert folder.load_config() == other
    assert [file.name for file in folder.path.iterdir()] == ["config.json"]


def test_folder_without_configuration_names_the_way_out(tmp_path):
    with pytest.raises(FolderError, match="config.json is missing. Train one"):
        RunFolder(tmp_path, RULES).load_config()


def test_all_fields_that_differ_are_told_at_once(folder):
    other = with_overrides(CONFIG, ["depth=4", "seed=2", "steps=9"])
    with pytest.raises(FolderError) as error:
        folder.check_same(other)
    message = str(error.value)
    assert "depth (there 8, now 4), loop.seed (there 1, now 2)." in message
    assert "--init_from=" not in message and "steps" not in message
    folder.check_same(with_overrides(CONFIG, ["steps=9", "width=2"]))
    with pytest.raises(FolderError, match="name .there 'Où', now 'mine'"):
        folder.check_same(with_overrides(CONFIG, ["name=mine"]), also=["name"])


def test_only_open_fields_of_a_trained_model_can_be_changed(folder):
    assert folder.load_config(["width=7"]).search.width == 7
    message = "only these fields to be changed: width. Received: depth=4"
    with pytest.raises(FolderError, match=message):
        folder.load_config(["depth=4"])


def test_interrupted_write_leaves_the_old_file(folder, monkeypatch):
    def fill_the_disk(file, text, **kwargs):
        with file.open("w") as opened:
            opened.write(text[:10])
        raise OSError("No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        folder.save_config(with_overrides(CONFIG, ["steps=9"]))
    assert folder.load_config() == CONFIG


def test_results_are_those_of_the_same_configuration(folder):
    folder.save_results({"score": 1.5, "config": dataclasses.asdict(CONFIG)})
    assert folder.load_results(CONFIG)["score"] == 1.5
    assert folder.load_results(with_overrides(CONFIG, ["steps=9"])) is None
    # People can read them, and other programs.
    text = (folder.path / "results.json").read_text(encoding="utf-8")
    assert "Où" in text and text.count("\n") > 3
    assert json.loads(text)["config"]["places"] == [1, 2]


@pytest.mark.parametrize("text", ["", '{"depth": 4', "\x00\x00"])
def test_torn_file_is_named(folder, text):
    for name, load in (
        ("results.json", lambda: folder.load_results(CONFIG)),
        ("config.json", folder.load_config),
    ):
        (folder.path / name).write_text(text)
        with pytest.raises(FolderError, match=f"{name} is torn: .* Delete it"):
            load()


def _model(value):
    output = keras.layers.Dense(1, name="out")
    model = keras.Sequential([keras.Input((2,)), output])
    for weight in model.weights:
        weight.assign(np.full(weight.shape, value))
    return model


def test_saved_weights_replace_those_before_and_come_back(folder):
    for value in (1.0, 2.0):
        folder.save_weights(_model(value), {"depth": 8}, step=5)
    assert len(folder.best.stored()) == 1
    model = _model(0.0)
    folder.load_weights(model, {"depth": 8})
    assert all(np.all(weight.numpy() == 2.0) for weight in model.weights)


def test_folder_without_weights_says_to_train_on(folder):
    with pytest.raises(FolderError, match="No checkpoint in .*best yet"):
        folder.load_weights(_model(0.0), {})


def test_weights_without_what_they_need_are_not_trained_over(folder):
    folder.save_weights(_model(1.0), {})
    with pytest.raises(FolderError, match="what they need: words.txt is miss"):
        folder.check_nothing_is_lost(needed=["words.txt"])
    with pytest.raises(FolderError, match="would replace them"):
        folder.check_nothing_is_lost()


def test_mean_of_checkpoints_is_not_trained_on(folder):
    folder.save_weights(_model(1.0), {}, averaged=["step-1", "step-2"])
    with pytest.raises(FolderError, match="holds a mean of checkpoints"):
        folder.check_nothing_is_lost()


def test_url_is_no_folder():
    with pytest.raises(FolderError, match="A model folder"):
        RunFolder("gs://bucket/run", RULES)
