"""The order of a whole run, for a kind of model that the test has made up."""

import dataclasses

import pytest
from small_loop import CONFIG, Batches, line_model, scores_of, squared_error

from trainers.engine.config.loop_config import LoopConfig
from trainers.engine.config.stored import ConfigRules
from trainers.engine.folder.run_folder import RunFolder
from trainers.engine.job import Job, train_and_evaluate
from trainers.engine.task import Task


@dataclasses.dataclass(frozen=True)
class LineConfig:
    train: str = "numbers"
    words: int = 0  # known once there is a vocabulary
    loop: LoopConfig = CONFIG


class LineFolder(RunFolder):
    def __init__(self, path):
        super().__init__(path, ConfigRules(LineConfig, fixed=("words",)))

    def build_model(self, config):
        return line_model()

    def identity(self, config, vocabulary):
        return {"words": len(vocabulary)}

    def save_vocabulary(self, config, vocabulary):
        (self.path / "words").write_text(vocabulary)

    def load_vocabulary(self, config):
        return (self.path / "words").read_text()


class LineJob(Job):
    """Says in `calls` what was asked of it."""

    corpora_fields = ("train",)

    def __init__(self, config, folder):
        super().__init__(config, folder)
        self.calls = []

    def check(self):
        self.calls.append("check")

    def read_corpora(self, log):
        self.calls.append("read_corpora")
        return {"train": 4}

    def make_vocabulary(self, log):
        self.calls.append("make_vocabulary")
        self.folder.path.mkdir(exist_ok=True)
        self.folder.save_vocabulary(self.config, "abc")

    def load_vocabulary(self):
        self.calls.append("load_vocabulary")
        words = len(self.folder.load_vocabulary(self.config))
        self.config = dataclasses.replace(self.config, words=words)

    def begin(self, model, log):
        self.calls.append("begin")

    def show(self, log):
        self.calls.append("show")

    def task(self, model, evaluated, workers):
        self.calls.append("task")
        assert evaluated is model  # without a strategy
        identity = {"words": self.config.words}
        return Task(
            model,
            squared_error,
            Batches(),
            scores_of(1.0, 2.0, 3.0),
            evaluated_model=evaluated,
            identity=identity,
        )

    def resumed(self):
        self.calls.append("resumed")

    def results(self, model, vocabulary, steps, log):
        self.calls.append("results")
        return {"error": float(model.count_params()), "seen": steps}

    def export(self, model, vocabulary, results):
        self.calls.append("export")
        assert results["steps"] == results["seen"]
        return "written"

    def show_results(self, results, log):
        self.calls.append("show_results")

    def check_export(self, path, results, log):
        self.calls.append(f"check_export {path}")
        assert self.folder.load_results(self.config)  # saved before

    def show_next_commands(self, log):
        self.calls.append("show_next_commands")


BEFORE = ["check", "read_corpora", "make_vocabulary", "load_vocabulary"]
TRAINED = ["show", "task", "resumed", "results", "export", "show_results"]
AFTER = ["check_export written", "show_next_commands"]


@pytest.fixture
def run(tmp_path):
    """Function of a number of steps: trains so far; the job and its lines."""

    def train(steps):
        config = LineConfig(loop=dataclasses.replace(CONFIG, steps=steps))
        job, lines = LineJob(config, LineFolder(tmp_path / "run")), []
        results = train_and_evaluate(job, lines.append)
        assert results["config"]["words"] == 3
        return job, lines

    return train


def test_a_run_goes_from_its_check_to_its_next_commands(run):
    job, _ = run(2)
    assert job.calls == [*BEFORE, "begin", *TRAINED, *AFTER]


def test_a_run_that_goes_on_keeps_its_weights(run):
    run(2)
    job, _ = run(4)
    assert job.calls == [*BEFORE, *TRAINED, *AFTER]  # no "begin"


def test_a_finished_run_is_only_reported(run):
    run(2)
    job, lines = run(2)
    assert job.calls == [*BEFORE, "show_results", "show_next_commands"]
    assert any("is done: 2 steps" in line for line in lines)
