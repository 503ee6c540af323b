"""A run of training, from its workers to its last step."""

import contextlib

from moe_keras import __version__
from moe_keras.parallel.processes.cluster import ClusterError
from trainers.engine.checkpoints.identity import as_json
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.overrides import field_paths
from trainers.engine.loop import Loop, seed_everything
from trainers.engine.worker_options import WorkerOptions


@contextlib.contextmanager
def begin_run(config, folder, options=None, log=print, may_differ=()):
    """Starts the workers, seeds everything and locks the folder.

    In this order: workers start before TensorFlow computes anything, and
    seeding drops TensorFlow's resources.

    Args:
        config: Frozen dataclass with a field `loop`, a `LoopConfig`.
        folder: `RunFolder`.
        options: `WorkerOptions`; by default this process trains alone.
        log: Function of one line of text; only the chief says anything.
        may_differ: Names of fields that workers may have otherwise, such as
            the paths of data. All others must agree.

    Yields:
        `Run`.

    Raises:
        FolderError: if another process trains in the folder.
        ClusterError: if the workers do not find each other, or differ.
    """
    workers = (options or WorkerOptions()).start(
        must_agree=_must_agree(config, may_differ)
    )
    seed_everything(config.loop.seed)
    with folder.lock() if workers.is_chief else contextlib.nullcontext():
        yield Run(folder, workers, log if workers.is_chief else _say_nothing)


class Run:
    """This process in a run, alone or with other workers; see `begin_run`.

    Attributes:
        folder: `RunFolder`.
        workers: `Workers`. As a context they check each other's heartbeat.
        is_chief: bool. Whether this process is the one that evaluates and
            writes.
        log: Function of one line of text; says nothing unless it is the
            chief's.
    """

    def __init__(self, folder, workers, log=print):
        self.folder = folder
        self.workers = workers
        self.is_chief = workers.is_chief
        self.log = log

    def wait(self):
        """Waits until all workers are here."""
        self.workers.all_gather(None)

    def check_same(self, name, value):
        """Refuses workers that hold different data.

        Args:
            name: str. What it is, as "corpora".
            value: What JSON can hold. All workers must have the same.

        Raises:
            ClusterError: naming what differs.
        """
        for index, other in enumerate(self.workers.all_gather(value)):
            if other != value:
                raise ClusterError(
                    f"All workers must have the same {name}. Received: "
                    f"{other} at worker {index}, {value} here."
                )

    def is_finished(self, config):
        """Whether the folder has the results of this configuration."""
        mine = self.is_chief and bool(self.folder.load_results(config))
        return self.workers.all_gather(mine)[0]

    def has_begun(self):
        """Whether there is a checkpoint to go on from.

        All workers call it at the same point.
        """
        mine = self.is_chief and bool(
            training_folder(self.folder.path).stored()
        )
        return self.workers.all_gather(mine)[0]

    def resume(self, task, config):
        """Makes the loop, restored from the last checkpoint if there is one.

        The configuration is saved as soon as it is known that the folder's
        checkpoints are of the same run.

        Args:
            task: `Task`.
            config: The configuration, as complete as it gets.

        Returns:
            `Loop`, ready to run.

        Raises:
            FolderError: if the folder has a model of another configuration,
                or weights that training would replace.
            CheckpointError: if a checkpoint cannot be used.
        """
        if self.is_chief:
            self.folder.check_nothing_is_lost()
        self.folder.check_same(config)
        if self.is_chief:
            self.folder.check_nothing_is_lost()
        loop = Loop(task, config.loop, self.folder.path, self.log, self.workers)
        loop.resume()
        if self.is_chief:
            self.folder.save_config(config)
        return loop


def _must_agree(config, may_differ):
    fields = field_paths(config)
    for name in may_differ:
        del fields[name]
    return as_json({**fields, "version of moe_keras": __version__})


def _say_nothing(line):
    del line
