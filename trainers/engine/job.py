"""A whole run of training, from a configuration to results.

The order of things is the same for every kind of model, and stands here once;
`Job` is what each kind does at each point of it.
"""

import dataclasses

from trainers.engine.run import begin_run


class Job:
    """What a kind of model does at each point of a run of training.

    `train_and_evaluate` calls the methods in the order in which they stand
    here. Those that say "chief" are called by the chief alone.

    Args:
        config: Frozen dataclass with a field `loop`, a `LoopConfig`.
        folder: `RunFolder` of the kind of model.

    Attributes:
        config: The configuration, as complete as it gets:
            `load_vocabulary` may replace it.
        folder: The folder.
        corpora_fields: Names of the fields that say where data is. Workers
            may have it at other places.
    """

    corpora_fields = ("train", "dev", "test")

    def __init__(self, config, folder):
        self.config = config
        self.folder = folder

    def check(self):
        """Chief: refuses what cannot be trained, before it takes long."""

    def read_corpora(self, log):
        """Opens and checks the corpora.

        Args:
            log: Function of one line of text.

        Returns:
            What JSON can hold of them, to be the same for all workers.
        """
        raise NotImplementedError

    def make_vocabulary(self, log):
        """Chief: leaves a vocabulary in the folder, if there is none."""
        raise NotImplementedError

    def load_vocabulary(self):
        """Reads the vocabulary and completes `config` by it."""
        raise NotImplementedError

    def begin(self, model, log):
        """Changes the fresh weights of a run that has no checkpoint yet."""

    def show(self, log):
        """Chief: shows the configuration and the sizes of the model."""
        raise NotImplementedError

    def task(self, model, evaluated, workers):
        """Makes what the loop trains.

        Args:
            model: A built Keras model, in the scope of the workers' strategy.
            evaluated: The model that the chief evaluates: `model`, or one
                like it that knows no strategy. None for other workers.
            workers: `Workers`.

        Returns:
            `Task`, with `evaluated` as its `evaluated_model`.
        """
        raise NotImplementedError

    def resumed(self):
        """Chief: the folder is known to be of this run, and may be written."""

    def results(self, model, vocabulary, steps, log):
        """Chief: evaluates the best model of the finished run.

        Args:
            model: The model, with the best weights.
            vocabulary: Its vocabulary.
            steps: int. Steps that it was trained for.
            log: Function of one line of text.

        Returns:
            dict, as `results.json` has it.
        """
        raise NotImplementedError

    def export(self, model, vocabulary, results):
        """Chief: writes what serves the model; its path, or None."""
        return None

    def show_results(self, results, log):
        """Chief: shows the results, also of a run that was finished before."""
        raise NotImplementedError

    def check_export(self, path, results, log):
        """Chief: tries what `export` wrote, and says what came out."""

    def show_next_commands(self, log):
        """Chief: shows commands to go on with."""


def train_and_evaluate(job, log=print, options=None):
    """Trains a model, or goes on with one, and evaluates it.

    Args:
        job: `Job`. A folder of an earlier run of the same model is resumed; a
            finished one is only reported.
        log: Function of one line of text.
        options: `WorkerOptions`; by default this process trains alone.

    Returns:
        dict of the figures in `results.json`; empty for a worker that is not
        the chief.

    Raises:
        CorpusError, FolderError, TokenizerError: one line each, before
            training starts.
        ClusterError, WorkerLost: one line each, about other workers.
        CheckpointError: if a checkpoint cannot be used or written.
        TrainingError: if the loss stays other than a finite number.
        Interrupted: after SIGTERM or Ctrl-C; all is saved.
    """
    fields = job.corpora_fields
    with begin_run(job.config, job.folder, options, log, fields) as run:
        if run.is_chief:
            job.check()
        contents = job.read_corpora(run.log)
        with run.workers:
            run.check_same("corpora", contents)
            if run.is_chief:
                job.make_vocabulary(run.log)
            run.wait()
            job.load_vocabulary()
            loop = None
            if not run.is_finished(job.config):
                loop = _train(job, run)
        if run.is_chief:
            return _finish(job, loop, run.log)
    return {}


def _train(job, run):
    """Does what all workers do; returns the `Loop` at its end."""
    has_begun = run.has_begun()
    with run.workers.scope():
        model = job.folder.build_model(job.config)
        if not has_begun:
            job.begin(model, run.log)
    if run.is_chief:
        job.show(run.log)
    evaluated = _evaluated_model(job, model, run) if run.is_chief else None
    loop = run.resume(job.task(model, evaluated, run.workers), job.config)
    if run.is_chief:  # not before it is known to be the same run
        job.resumed()
    loop.run()
    return loop


def _evaluated_model(job, model, run):
    if run.workers.strategy.num_replicas_in_sync == 1:
        return model
    return job.folder.build_model(job.config)


def _finish(job, loop, log):
    """Does what the chief does when training is over."""
    folder, config = job.folder, job.config
    if loop is None:
        results = folder.load_results(config)
        log(f"{folder.path} is done: {results['steps']} steps.")
        job.show_results(results, log)
    else:
        model, vocabulary = folder.load_model(config)
        steps = int(loop.step)
        results = job.results(model, vocabulary, steps, log)
        results["steps"] = steps
        results["training_minutes"] = float(loop.seconds) / 60
        # Whatever becomes of the lines below, what is to be saved is saved.
        path = job.export(model, vocabulary, results)
        results["config"] = dataclasses.asdict(config)
        folder.save_results(results)
        job.show_results(results, log)
        job.check_export(path, results, log)
    job.show_next_commands(log)
    return results
