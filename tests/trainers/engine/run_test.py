"""A run of training around its loop: what comes first, and what is refused."""

import dataclasses

import keras
import numpy as np
import pytest
from small_loop import CONFIG, Batches, line_model, scores_of, squared_error

from moe_keras.parallel.processes.cluster import ClusterError
from trainers.engine import worker_options
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.config.stored import ConfigRules
from trainers.engine.folder.files import FolderError
from trainers.engine.folder.run_folder import RunFolder
from trainers.engine.run import Run, begin_run
from trainers.engine.task import Task


@dataclasses.dataclass(frozen=True)
class LineConfig:
    inputs: int = 2
    data: str = "here"
    loop: LoopConfig = CONFIG


RULES = ConfigRules(LineConfig, fixed=("inputs",))


def line_task(scores=(1.0, 2.0)):
    return Task(line_model(), squared_error, Batches(), scores_of(*scores))


def train(folder, config, log=lambda line: None):
    with begin_run(config, folder, log=log) as run:
        if run.is_finished(config):
            return None
        loop = run.resume(line_task(), config)
        loop.run()
        folder.save_results({"config": dataclasses.asdict(config)})
    return loop


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run", RULES)


def test_run_leaves_its_configuration_and_is_finished_once(folder):
    loop = train(folder, LineConfig())
    assert int(loop.step) == 6
    assert folder.load_config() == LineConfig()
    assert train(folder, LineConfig()) is None
    longer = LineConfig(loop=dataclasses.replace(CONFIG, steps=8))
    assert int(train(folder, longer).step) == 8


def test_folder_is_locked_while_the_run_lasts(folder):
    with begin_run(LineConfig(), folder):
        with pytest.raises(FolderError, match="in use by process"):
            with begin_run(LineConfig(), folder):
                pass
    with begin_run(LineConfig(), folder):
        pass


def test_everything_is_seeded(folder):
    draws = []
    for seed in (3, 4, 3):
        config = LineConfig(loop=dataclasses.replace(CONFIG, seed=seed))
        with begin_run(config, folder):
            draws.append(np.asarray(keras.random.normal((4,))))
    np.testing.assert_array_equal(draws[0], draws[2])
    assert np.all(draws[0] != draws[1])


def test_other_model_in_the_folder_is_refused_by_its_fields(folder):
    train(folder, LineConfig())
    with begin_run(LineConfig(inputs=3), folder) as run:
        with pytest.raises(FolderError, match="inputs .there 2, now 3"):
            run.resume(line_task(), LineConfig(inputs=3))
    assert folder.load_config() == LineConfig()


def test_best_weights_without_a_checkpoint_are_not_replaced(folder):
    train(folder, LineConfig())
    checkpoints = training_folder(folder.path)
    for stored in checkpoints.stored():
        checkpoints.remove(stored)
    longer = LineConfig(loop=dataclasses.replace(CONFIG, steps=8))
    with begin_run(longer, folder) as run:
        with pytest.raises(FolderError, match="step-6 .score 2.0.*replace"):
            run.resume(line_task(), longer)
    assert [stored.step for stored in folder.best.stored()] == [6]


class Others:
    """Three workers, of which this is the second; the last holds `other`."""

    is_chief = False

    def __init__(self, other):
        self._other = other

    def all_gather(self, value):
        return [value, value, self._other]


def test_workers_with_other_data_are_named(folder):
    Run(folder, Others({"rows": 4})).check_same("data", {"rows": 4})
    message = "the same data. Received: .*5.* at worker 2, .*4.* here"
    with pytest.raises(ClusterError, match=message):
        Run(folder, Others({"rows": 5})).check_same("data", {"rows": 4})


def test_only_the_chief_says_anything(folder, monkeypatch):
    lines = []
    monkeypatch.setattr(
        worker_options, "start_workers", lambda *_: Others(None)
    )
    with begin_run(LineConfig(), folder, log=lines.append) as run:
        run.log("of a worker")
    assert not lines and not folder.path.exists()


def test_workers_must_agree_on_all_but_some_fields(folder, monkeypatch):
    agreed = []

    def start(*arguments):
        agreed.append(arguments[4])
        return Others(None)

    monkeypatch.setattr(worker_options, "start_workers", start)
    with begin_run(LineConfig(), folder, may_differ=("data",)):
        pass
    assert agreed[0]["inputs"] == 2 and agreed[0]["loop.steps"] == 6
    assert "data" not in agreed[0] and "version of moe_keras" in agreed[0]
