"""A model that is no translator is trained by the code of docs/training.md."""

import dataclasses
import pathlib
import re
import types

import pytest
import tensorflow as tf
from small_workers import largest_difference

import trainers
from trainers.engine.folder.files import FolderError
from trainers.engine.folder.run_folder import RunFolder

PAGE = pathlib.Path(trainers.__file__).parents[1] / "docs/training.md"


def code_of_the_page():
    section = PAGE.read_text("utf-8").split("\n## Train another model\n")[1]
    return re.search("```python\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture(scope="module")
def rings(tmp_path_factory):
    """The code as a module, whose run at its end has a folder of its own."""
    module = types.ModuleType("rings")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("rings"))
        exec(code_of_the_page(), vars(module))
        module.folder = pathlib.Path("runs/rings").absolute()
    return module


def config_of(rings, steps, **changes):
    config = rings.RingsConfig(**changes)
    loop = dataclasses.replace(config.loop, steps=steps, log_every=10)
    return dataclasses.replace(config, loop=loop)


def test_the_code_is_short():
    code = code_of_the_page()
    lines = [line for line in code.splitlines() if line]
    assert len(lines) <= 60


def test_a_run_that_was_stopped_ends_as_one_that_was_not(rings, tmp_path):
    rings.train(config_of(rings, 30), tmp_path / "whole")
    for steps in (13, 30):  # within an epoch of a shuffled dataset
        _, loop = rings.train(config_of(rings, steps), tmp_path / "parts")
    assert int(loop.step) == 30
    difference, number = largest_difference(
        tmp_path / "whole", tmp_path / "parts"
    )
    assert difference == 0.0 and number > 30


def test_the_best_model_comes_back(rings):
    task = rings.make_task(rings.RingsConfig())
    rules = rings.ConfigRules(rings.RingsConfig, ("num_experts",))
    folder = RunFolder(rings.folder, rules)
    folder.load_weights(task.model, task.identity)
    best = max(stored.about["score"] for stored in folder.best.stored())
    assert task.evaluate(lambda: None)["score"] == pytest.approx(best)
    assert best > 0.8  # ring 1 has pi (1 - 1/4) / 4 = 0.59 of the square
    assert folder.load_results(rings.RingsConfig())
    with pytest.raises(FolderError, match="num_experts .there 4, now 8"):
        folder.check_same(rings.RingsConfig(num_experts=8))


def test_tensorboard_shows_the_loss_its_figures_and_the_routing(rings):
    tags = set()
    for file in (rings.folder / "logs/train").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value}
    expected = {"loss", "accuracy", "points_per_second", "moe/cv_load"}
    assert expected <= tags
    assert (rings.folder / "routing.jsonl").read_text().count("\n") == 2
