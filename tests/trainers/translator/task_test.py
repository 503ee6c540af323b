"""From text files to a SavedModel and back, on a corpus of a few lines."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
from small_runs import PAIRS, SMALL, write_corpora

from trainers.engine.bad_steps import TrainingError
from trainers.engine.checkpoints.average import save_average
from trainers.engine.checkpoints.contents import read_weights
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.overrides import with_overrides
from trainers.engine.folder.files import FolderError
from trainers.translator import task as translation_task
from trainers.translator.evaluation import DevEvaluation
from trainers.translator.fields import score_identity
from trainers.translator.folder import ModelFolder
from trainers.translator.text_modes import LineTranslator
from translation.serving.export import load_translator
from translation.text.corpora.corpus import open_corpus
from translation.text.tokenizer.tokenizer import TokenizerError


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    write_corpora(folder)
    return folder


@pytest.fixture(scope="module")
def config(corpora):
    splits = ("train", "dev", "test")
    return with_overrides(SMALL, [f"{s}={corpora / s}" for s in splits])


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """A finished run: its folder, what it logged and what it returned."""
    folder = tmp_path_factory.mktemp("run") / "model"
    lines = []
    results = translation_task.train_and_evaluate(config, folder, lines.append)
    return folder, lines, results


def skip_export(monkeypatch):
    for name in ("export_model", "check_export"):
        monkeypatch.setattr(translation_task, name, lambda *_: None)


def test_main_job_shows_what_it_does(trained):
    text = "\n".join(trained[1])
    for expected in (
        "loop.steps = 2",
        "Parameters: ",
        "Ops per timestep: ",
        "train: of all 4 pairs 0 (0.0%) are left out, with over max_length=96",
        "The score on the dev corpus is BLEU of 4 sentences, nrefs:1|case",
        "dev at step 2",
        "reference    un chien",
        "encoder_moe_1",
        "tok:13a",
        "gives 4 of 4 of these translations",
        "--mode=translate",
    ):
        assert expected in text


def test_main_job_leaves_all_that_is_needed_later(trained):
    folder, _, results = trained
    assert results["steps"] == 2
    for name in ("config.json", "tokenizer.model", "results.json"):
        assert (folder / name).stat().st_size
    for name in ("checkpoints", "best", "logs/train", "export/1"):
        assert list((folder / name).iterdir())


@pytest.mark.slow
def test_all_is_saved_before_the_first_line_of_the_results(config, tmp_path):
    folder = tmp_path / "model"

    def log(line):
        if line.startswith("  source"):  # as a stream that cannot show it
            raise UnicodeEncodeError("ascii", line, 0, 1, "no such character")

    with pytest.raises(UnicodeEncodeError):
        translation_task.train_and_evaluate(config, folder, log)
    assert (folder / "export/1/saved_model.pb").exists()
    assert json.loads((folder / "results.json").read_text())["steps"] == 2


def test_second_run_says_that_it_is_done(trained, config):
    folder, _, results = trained
    lines = []
    again = translation_task.train_and_evaluate(config, folder, lines.append)
    assert f"{folder} is done: 2 steps." in lines
    assert again == json.loads((folder / "results.json").read_text())
    assert again["bleu"] == results["bleu"]


@pytest.mark.slow
def test_more_steps_resume(trained, config, tmp_path, monkeypatch):
    folder = tmp_path / "moved"
    shutil.copytree(trained[0], folder)
    longer = with_overrides(config, ["steps=3"])
    skip_export(monkeypatch)
    lines = []
    results = translation_task.train_and_evaluate(longer, folder, lines.append)
    assert "Resuming after step 2." in lines
    assert results["steps"] == 3


def test_export_tells_no_path_of_this_machine(trained, corpora):
    files = [p for p in (trained[0] / "export/1").rglob("*") if p.is_file()]
    assert {"card.json", "saved_model.pb"} <= {file.name for file in files}
    places = (corpora, trained[0], pathlib.Path(translation_task.__file__))
    for file in files:
        for place in places:
            assert str(place).encode() not in file.read_bytes(), file


def test_finished_run_needs_no_checkpoints(trained, config, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(trained[0], folder)
    shutil.rmtree(folder / "checkpoints")
    lines = []
    translation_task.train_and_evaluate(config, folder, lines.append)
    assert f"{folder} is done: 2 steps." in lines


def test_other_sizes_in_the_same_folder_are_refused(trained, config):
    other = with_overrides(config, ["num_experts=4"])
    with pytest.raises(FolderError, match=r"model.num_experts \(there 2, now"):
        translation_task.train_and_evaluate(other, trained[0], print)


def test_corpora_are_not_read_for_a_folder_that_is_refused(
    trained, config, monkeypatch
):
    def fail(*_):
        raise AssertionError("a corpus was read")

    monkeypatch.setattr(translation_task, "read_corpora", fail)
    other = with_overrides(config, ["num_experts=4"])
    with pytest.raises(FolderError, match="model.num_experts"):
        translation_task.train_and_evaluate(other, trained[0], print)
    with ModelFolder(trained[0]).lock():
        with pytest.raises(FolderError, match="in use by process"):
            translation_task.train_and_evaluate(config, trained[0], print)


def test_evaluate_translate_and_export_use_the_folder(trained):
    folder, _, results = trained
    figures = translation_task.evaluate(folder, log=lambda _: None)
    assert figures["bleu"] == results["bleu"]
    assert figures["perplexity"] == pytest.approx(results["perplexity"])
    translations = LineTranslator(folder)(["one dog", ""])
    assert translations[0] == results["examples"][0]["translation"]
    assert translations[1] == ""


@pytest.mark.slow
def test_an_export_in_bfloat16_tells_its_figures(trained):
    folder, _, results = trained
    path = translation_task.export(
        folder, ["beam_width=1"], precision="bfloat16"
    )
    assert path.name == "2"
    assert load_translator(path)(["one dog"])[0].score < 0
    cards = [
        json.loads((folder / f"export/{n}/assets.extra/card.json").read_text())
        for n in (1, 2)
    ]
    dtypes = [card["sizes"]["weights_dtypes"] for card in cards]
    assert dtypes == [["float32"], ["bfloat16", "float32"]]  # gates
    for card in cards:
        assert card["target_languages"] == ["fr"]
        assert card["figures"]["bleu"] == results["bleu"]
        assert card["figures"]["signature"] == results["signature"]
        assert card["figures"]["search"]["beam_width"] == 2
        assert card["configuration"]["num_experts"] == 2
        assert card["training"]["loop"]["seed"] == 1
        assert card["training"]["batches"]["tokens_per_batch"] == 64
        assert not card["training"]["filters"]["drop_identical"]
        assert card["data"]["pairs"] == {"train": 4, "dev": 4, "test": 4}
    assert [card["search"]["beam_width"] for card in cards] == [2, 1]


def test_unequal_files_are_refused_before_training(config, corpora, tmp_path):
    for language, count in (("en", 4), ("fr", 5)):
        (tmp_path / f"uneven.{language}").write_text("encore\n" * count)
    uneven = with_overrides(config, [f"train={tmp_path / 'uneven'}"])
    with pytest.raises(ValueError, match="4.*5|5.*4"):
        translation_task.train_and_evaluate(uneven, tmp_path / "m", print)
    assert not (tmp_path / "m").exists()


def test_average_is_a_folder_for_the_other_modes(trained, config, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    lines = []
    for _ in range(2):  # the second replaces the first
        averaged = save_average(ModelFolder(folder), "last:1", lines.append)
    assert averaged == folder / "averaged"
    assert lines[0] == f"The mean of checkpoints/step-2 is in {averaged}."
    config = ModelFolder(averaged).load_config()  # of the whole vocabulary
    # It is the only one, so that the mean is the weights themselves.
    mean, _ = ModelFolder(averaged).load_model(config)
    last, _ = ModelFolder(folder).load_model(config)
    read_weights(training_folder(folder).stored()[-1], last)
    for a, b in zip(mean.weights, last.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(LineTranslator(averaged)(["one dog"])) == 1
    with pytest.raises(FolderError, match="holds a mean of checkpoints"):
        translation_task.train_and_evaluate(config, averaged, lambda _: None)


@pytest.mark.slow
def test_dev_search_may_be_greedy(trained, config):
    folder = ModelFolder(trained[0])
    loaded = folder.load_config()
    model, tokenizer = folder.load_model(loaded)
    dev = open_corpus(config.dev, config.pair, "dev")
    greedy = with_overrides(loaded, ["dev_search=greedy"])
    narrow = with_overrides(loaded, ["beam_width=1"])
    found = [
        DevEvaluation(c, model, tokenizer, dev)()["bleu"]
        for c in (greedy, narrow)
    ]
    assert found[0] == found[1]
    assert score_identity(greedy, "") != score_identity(loaded, "")


def test_bad_batch_is_kept_with_its_sentences(
    trained, config, tmp_path, monkeypatch
):
    def nan(model, batch, smoothing):
        loss, *rest = training_loss(model, batch, smoothing)
        return loss * np.nan, *rest

    training_loss = translation_task.training_loss
    monkeypatch.setattr(translation_task, "training_loss", nan)
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    longer = with_overrides(config, ["steps=3", "max_bad_steps=1"])
    with pytest.raises(TrainingError, match="loss of step 3 is nan"):
        translation_task.train_and_evaluate(longer, folder, lambda _: None)
    (path,) = (folder / "bad_steps").iterdir()
    batch = np.load(path)
    assert set(batch["sources"]) <= {source for source, _ in PAIRS}
    assert set(batch["targets"]) <= {target for _, target in PAIRS}
    assert len(batch["sources"]) == len(batch["source"]) > 0


def test_folder_in_use_is_refused(trained, config):
    with ModelFolder(trained[0]).lock():
        with pytest.raises(FolderError, match="in use by process"):
            translation_task.train_and_evaluate(config, trained[0], print)


def test_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(FolderError, match="config.json is missing"):
        translation_task.evaluate(tmp_path / "nothing")


def test_config_survives_the_folder(tmp_path):
    folder = ModelFolder(tmp_path)
    config = dataclasses.replace(
        SMALL, model=dataclasses.replace(SMALL.model, decoder_moe_after=())
    )
    folder.save_config(config)
    assert folder.load_config() == config


class TestCorporaOfARun:
    """Filters, weights and a given vocabulary, up to the first checkpoint."""

    @pytest.fixture
    def changes(self, corpora, tmp_path, monkeypatch):
        skip_export(monkeypatch)
        lines = (f"{source}\t{target}\n" for source, target in PAIRS)
        noisy = tmp_path / "noisy.tsv"
        noisy.write_text("".join(lines) + "same\tsame\n")
        train = f"{corpora / 'train'}@2,{noisy}@1"
        return [f"train={train}", "drop_identical=True", "max_ratio=9"]

    @pytest.mark.slow
    def test_filters_tell_what_they_dropped(self, config, changes, tmp_path):
        lines = []
        folder = tmp_path / "run"
        config = with_overrides(config, changes)
        translation_task.train_and_evaluate(config, folder, lines.append)
        noisy = tmp_path / "noisy.tsv"
        at = lines.index(f"{noisy}: 4 of 5 pairs are kept (80.0%).")
        assert lines[at + 1] == (
            "  1 two sides alike, such as pair 5: same | same"
        )
        reports = json.loads((folder / "filters.json").read_text())
        assert [report["kept"] for report in reports] == [4, 4]
        assert reports[1]["examples"] == {
            "two sides alike": [[5, "same", "same"]]
        }
        other = with_overrides(config, ["max_ratio=8"])
        with pytest.raises(FolderError, match="filters.max_ratio"):
            translation_task.train_and_evaluate(other, folder, print)

    @pytest.mark.slow
    def test_a_given_vocabulary(self, trained, config, tmp_path, monkeypatch):
        skip_export(monkeypatch)
        path = tmp_path / "given.model"
        shutil.copy(trained[0] / "tokenizer.model", path)
        size = ModelFolder(trained[0]).load_config().model.vocab_size
        config = with_overrides(
            config, [f"tokenizer_model={path}", f"vocab_size={size}"]
        )
        folder = tmp_path / "run"
        wrong = with_overrides(config, ["vocab_size=999"])
        with pytest.raises(TokenizerError, match=f"--set vocab_size={size}. R"):
            translation_task.train_and_evaluate(wrong, folder, print)
        missing = with_overrides(config, [f"tokenizer_model={path}.no"])
        with pytest.raises(TokenizerError, match="given.model.no: No such"):
            translation_task.train_and_evaluate(missing, folder, print)
        assert not folder.exists()
        translation_task.train_and_evaluate(config, folder, lambda _: None)
        ours = (folder / "tokenizer.model").read_bytes()
        assert ours == path.read_bytes()
