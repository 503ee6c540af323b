"""A run from the weights of another: what it takes, and what is its own."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from small_runs import PAIRS, SMALL, train, write_corpora

from trainers.engine.checkpoints.average import save_average
from trainers.engine.checkpoints.best import best_folder
from trainers.engine.checkpoints.contents import read_weights, weights_by_path
from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.overrides import with_overrides
from trainers.engine.folder.files import FolderError
from trainers.engine.loop import Loop
from trainers.translator import task
from trainers.translator.folder import ModelFolder, build_model
from trainers.translator.initial import started_from
from trainers.translator.presets import NmtConfig
from translation.text.text_files import CorpusError

OTHER = [("one bird", "un oiseau"), ("two dogs?", "deux chiens ?")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of corpora, and another one of other text: `old`, `new`."""
    folder = tmp_path_factory.mktemp("runs")
    for name, pairs in (("old", PAIRS), ("new", OTHER)):
        (folder / name).mkdir()
        write_corpora(folder / name, pairs)
    return folder


def corpora(folder):
    return [f"{s}={folder / s}" for s in ("train", "dev", "test")]


@pytest.fixture(scope="module")
def trained(place):
    """The folder of a run of two steps on the first of the corpora."""
    changes = [*corpora(place / "old"), "evaluate_every=1", "average_decay=0"]
    train(with_overrides(SMALL, changes), place / "run", scores=(9.0, 1.0))
    return place / "run"


def fine_tuned(trained, place, *changes):
    """The configuration of a run from these weights on the other text."""
    start = dataclasses.replace(SMALL, model=SMALL.model, pair="de-fr")
    start = started_from(start, str(trained))
    settings = ["steps=3", "evaluate_every=3", "average_decay=0"]
    return with_overrides(start, [*corpora(place / "new"), *settings, *changes])


def weights_of(stored, config):
    model = build_model(config)
    read_weights(stored, model)
    return {k: v.numpy() for k, v in weights_by_path(model).items()}


def assert_same_weights(ours, theirs):
    assert ours.keys() == theirs.keys() and ours
    for path in ours:
        np.testing.assert_array_equal(ours[path], theirs[path])


@pytest.mark.parametrize(
    "kind", ["run", pytest.param("averaged", marks=pytest.mark.slow)]
)
def test_weights_and_vocabulary_are_taken_and_all_else_is_fresh(
    trained, place, tmp_path, kind
):
    source = trained
    if kind == "averaged":
        source = save_average(ModelFolder(trained), "last:1", lambda line: None)
    config = fine_tuned(source, place)
    assert config.pair == "en-fr"
    # The first thing that is saved is what the run starts with.
    started = {}

    def begun(loop):
        stored = training_folder(tmp_path / "new").stored()
        started.update(weights_of(stored[0], loop_config))
        started["counters"] = int(loop.step), int(loop.optimizer.iterations)

    loop_config = ModelFolder(source).load_config()
    lines = []
    loop = train_watched(config, tmp_path / "new", lines, begun)
    assert started.pop("counters") == (0, 0)
    expected = weights_of(best_folder(source).stored()[-1], loop_config)
    assert_same_weights(started, expected)
    assert int(loop.step) == 3
    assert f"Starting from the best weights in {source}." in lines
    ours, theirs = (
        (folder / "tokenizer.model").read_bytes()
        for folder in (tmp_path / "new", source)
    )
    assert ours == theirs


def train_watched(config, folder, lines, begun):
    """Trains; calls `begun` with the loop after its first checkpoint."""
    save = Loop._save

    def watched(loop):
        save(loop)
        if int(loop.step) == 0:
            begun(loop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_save", watched)
        return train(config, folder, (1.0,), lines.append)


@pytest.mark.slow
def test_characters_that_the_vocabulary_lacks_are_told(
    trained, place, tmp_path
):
    lines = []
    train(fine_tuned(trained, place), tmp_path / "new", (1.0,), lines.append)
    train_line, dev_line = [x for x in lines if "the vocabulary lacks" in x]
    # b and r of "bird", and two question marks.
    assert train_line == (
        f"{place / 'new/train'}: the vocabulary lacks 4 of 39 characters in 2 "
        "pairs (10.26%): ? b r. They are spelled in bytes."
    )
    assert dev_line == (
        f"{place / 'new/dev'}: the vocabulary lacks 0 of 66 characters in 4 "
        "pairs."
    )


@pytest.mark.slow
def test_run_goes_on_when_the_other_folder_is_gone(trained, place, tmp_path):
    source = shutil.copytree(trained, tmp_path / "source")
    config = fine_tuned(source, place)
    train(config, tmp_path / "new", (1.0,))
    shutil.rmtree(source)
    again = started_from(NmtConfig(), str(source), tmp_path / "new")
    assert again.model == config.model
    longer = with_overrides(config, ["steps=4"])
    lines = []
    assert int(train(longer, tmp_path / "new", (1.0,), lines.append).step) == 4
    assert "Resuming after step 3." in lines
    assert not any(line.startswith("Starting from") for line in lines)


@pytest.mark.parametrize(
    "change, message",
    [
        ("depth=16", r"model: depth \(there 8, now 16\). Leave out"),
        ("num_experts=4", r"num_experts \(there 2, now 4\)"),
        ("pair=en-de", "translates en-fr. A run from its weights does"),
        ("vocab_size=999", "`vocab_size` must be that of .*tokenizer.model"),
        ("tokenizer_model=a.model", "leave out `tokenizer_model`. Received"),
    ],
)
def test_what_does_not_fit_is_refused(
    trained, place, tmp_path, change, message
):
    config = fine_tuned(trained, place, change)
    if change.startswith("pair"):
        for split in ("train", "dev", "test"):
            (place / f"new/{split}.de").write_text("ein Hund\nzwei Hunde\n")
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "new", (1.0,))


@pytest.mark.slow
def test_fields_without_weights_may_differ(trained, place, tmp_path):
    config = fine_tuned(trained, place, "dropout=0.5", "label_smoothing=0")
    assert int(train(config, tmp_path / "new", (1.0,)).step) == 3


def test_folder_without_a_model_is_refused(place, tmp_path):
    with pytest.raises(FolderError, match="config.json is missing"):
        started_from(NmtConfig(), str(tmp_path))
    with pytest.raises(FolderError, match="no URLs"):
        started_from(NmtConfig(), "gs://bucket/run")


def test_damaged_weights_are_refused(trained, place, tmp_path):
    source = shutil.copytree(trained, tmp_path / "source")
    for stored in best_folder(source).stored():
        (stored.path / "ckpt.index").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="is torn"):
        train(fine_tuned(source, place), tmp_path / "new", (1.0,))


@pytest.mark.slow
def test_run_that_has_begun_starts_from_nothing_else(trained, place, tmp_path):
    config = fine_tuned(trained, place)
    train(config, tmp_path / "new", (1.0,))
    other = dataclasses.replace(config, init_from="")
    with pytest.raises(FolderError, match="init_from .there '.*run', now ''"):
        train(other, tmp_path / "new", (1.0,))
    with pytest.raises(FolderError, match="init_from .there '', now '.*run'"):
        train(dataclasses.replace(config), trained, (1.0,))


class TestOwnEvaluation:
    """A model of one's own corpus is not judged by the phrasebook."""

    @pytest.mark.parametrize(
        "given, missing",
        [
            ([], "--dev and --test"),
            (["dev=mine/dev"], "give --test,"),
            (["test=mine/test"], "give --dev,"),
        ],
    )
    def test_dev_and_test_are_asked_for(self, place, tmp_path, given, missing):
        mine = [f"train={place / 'old/train'}", *given]
        with pytest.raises(CorpusError, match=missing):
            train(with_overrides(SMALL, mine), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        "changes",
        [
            ["train=phrasebook"],
            ["train=phrasebook:200,mine/train"],
            ["train=phrasebook@2,mine/train@1"],
            ["train=mine", "dev=phrasebook:500", "test=phrasebook:20"],
        ],
    )
    def test_phrasebook_is_fine_where_it_is_meant(self, changes):
        task.check_own_evaluation(with_overrides(SMALL, changes))

    def test_run_that_has_begun_goes_on(self, place, tmp_path):
        folder = ModelFolder(tmp_path / "run")
        config = with_overrides(SMALL, [f"train={place / 'old/train'}"])
        folder.save_config(config)
        task.TranslationJob(config, folder).check()
        assert json.loads((folder.path / "config.json").read_text())
