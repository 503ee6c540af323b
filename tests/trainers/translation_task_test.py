"""From text files to a SavedModel and back, on a corpus of a few lines."""

import dataclasses
import json

import pytest

from trainers import translation_task
from trainers.loop import LoopConfig
from trainers.model_folder import FolderError, ModelFolder
from trainers.presets import NmtConfig, with_overrides
from translation.beam_options import BeamOptions
from translation.config import TranslatorConfig
from translation.input_pipeline import PipelineOptions

SMALL = NmtConfig(
    model=TranslatorConfig(
        vocab_size=300,
        depth=8,
        lstm_units=8,
        num_experts=2,
        expert_hidden_dim=8,
        attention_units=8,
    ),
    loop=LoopConfig(steps=2, warmup_steps=1, evaluate_every=2, save_every=2),
    batches=PipelineOptions(tokens_per_batch=64, static_shapes=False),
    search=BeamOptions(beam_width=2, max_length_extra=2),
)
PAIRS = [
    ("one dog", "un chien"),
    ("two dogs", "deux chiens"),
    ("one cat", "un chat"),
    ("two cats", "deux chats"),
]


@pytest.fixture
def config(tmp_path):
    for split in ("train", "dev", "test"):
        for column, language in enumerate(("en", "fr")):
            lines = "".join(f"{pair[column]}\n" for pair in PAIRS)
            (tmp_path / f"{split}.{language}").write_text(lines)
    prefixes = [
        f"{split}={tmp_path / split}" for split in ("train", "dev", "test")
    ]
    return with_overrides(SMALL, prefixes)


def test_main_job_leaves_everything_and_the_second_run_is_done(
    config, tmp_path
):
    folder = tmp_path / "model"
    lines = []
    results = translation_task.train_and_evaluate(config, folder, lines.append)
    text = "\n".join(lines)
    for expected in (
        "loop.steps = 2",
        "Parameters: ",
        "Ops per timestep: ",
        "dev at step 2",
        "reference    un chien",
        "encoder_moe_2",
        "tok:13a",
        "SavedModel",
        "--mode=translate",
    ):
        assert expected in text
    assert results["steps"] == 2
    for name in ("config.json", "tokenizer.model", "results.json"):
        assert (folder / name).stat().st_size
    for name in ("checkpoints", "best", "logs/train", "export/1"):
        assert list((folder / name).iterdir())
    lines.clear()
    again = translation_task.train_and_evaluate(config, folder, lines.append)
    assert any("is done: 2 steps." in line for line in lines)
    assert again == json.loads((folder / "results.json").read_text())


def test_more_steps_resume_and_other_sizes_are_refused(config, tmp_path):
    folder = tmp_path / "model"
    translation_task.train_and_evaluate(config, folder, lambda _: None)
    lines = []
    longer = with_overrides(config, ["steps=3"])
    translation_task.train_and_evaluate(longer, folder, lines.append)
    assert "Resuming after step 2." in lines
    other = with_overrides(config, ["num_experts=4"])
    with pytest.raises(FolderError, match=r"model.num_experts \(there 2, now"):
        translation_task.train_and_evaluate(other, folder, print)


def test_evaluate_translate_and_export_use_the_folder(config, tmp_path):
    folder = tmp_path / "model"
    trained = translation_task.train_and_evaluate(
        config, folder, lambda _: None
    )
    figures = translation_task.evaluate(folder, log=lambda _: None)
    assert figures["bleu"] == trained["bleu"]
    assert figures["perplexity"] == pytest.approx(trained["perplexity"])
    translations = translation_task.translate(folder, ["one dog", ""])
    assert translations[0] == trained["examples"][0]["translation"]
    assert translations[1] == ""
    assert translation_task.export(folder).name == "2"


def test_unequal_files_are_refused_before_training(config, tmp_path):
    with (tmp_path / "train.fr").open("a") as file:
        file.write("encore\n")
    with pytest.raises(ValueError, match="4.*5|5.*4"):
        translation_task.train_and_evaluate(config, tmp_path / "m", print)
    assert not (tmp_path / "m").exists()


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
