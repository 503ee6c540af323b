"""The folder of a run: what it holds and how a model comes back from it.

config.json     the effective configuration
checkpoints/    the last states of training
best/           weights of the best evaluations
averaged/       a folder like this one, with the mean of several of them
bad_steps/      batches whose loss or gradient was not finite
lock            held by the process that trains
logs/           TensorBoard
routing.jsonl   windows of the routing, with verdicts
results.json    figures of the finished run

A kind of model derives its folder from `RunFolder`: it adds files of its own,
and says how its model and its vocabulary are made and saved.
"""

import dataclasses

import tensorflow as tf

from moe_keras.paths import local_path
from trainers.engine.checkpoints.best import best_folder, load_best
from trainers.engine.checkpoints.contents import weights_by_path
from trainers.engine.checkpoints.files import (
    CheckpointError,
    DamagedCheckpoint,
)
from trainers.engine.checkpoints.recent import training_folder
from trainers.engine.config.overrides import with_overrides
from trainers.engine.config.stored import fields_of
from trainers.engine.folder.files import FolderError, read_json, write_json
from trainers.engine.folder.lock import locked


class RunFolder:
    """Paths and files of one run.

    Args:
        path: str or path, in which `~` is expanded. Made when something is
            first saved.
        rules: `ConfigRules` of its configuration.

    Raises:
        FolderError: for a URL.

    Example:

    >>> import tempfile
    >>> from trainers.engine.config.loop_config import LoopConfig
    >>> from trainers.engine.config.stored import ConfigRules
    >>> rules = ConfigRules(LoopConfig, fixed=("seed",))
    >>> folder = RunFolder(tempfile.mkdtemp(), rules)
    >>> folder.save_config(LoopConfig(steps=7))
    >>> folder.load_config().steps
    7
    >>> try:
    ...     folder.check_same(LoopConfig(seed=2))
    ... except FolderError as error:
    ...     "seed (there 1, now 2)" in str(error)
    True
    """

    def __init__(self, path, rules):
        try:
            self.path = local_path(path)
        except ValueError as error:
            raise FolderError(f"A model folder: {error}") from error
        self.rules = rules
        self.best = best_folder(self.path)
        self._config_path = self.path / "config.json"
        self._results_path = self.path / "results.json"

    def lock(self):
        """Context manager: no other process can have the lock.

        Raises:
            FolderError: if another process has it, or the folder cannot be
                written to.
        """
        return locked(self.path)

    def has_config(self):
        """Whether a run has begun here."""
        return self._config_path.exists()

    def save_config(self, config):
        """Writes the configuration, replacing an earlier one."""
        write_json(self._config_path, dataclasses.asdict(config))

    def load_config(self, changes=()):
        """Reads the configuration of the run.

        Args:
            changes: List of `"field=value"` for fields that a trained model
                leaves open, `rules.open`.

        Raises:
            FolderError: if the folder has none, or for other changes.
        """
        values = read_json(self._config_path)
        if values is None:
            raise FolderError(
                f"No trained model in {self.path}: config.json is missing. "
                "Train one with --mode=train_and_evaluate."
            )
        config = self._read(values)
        changed = with_overrides(config, changes)
        if self._closed_fields(changed) != self._closed_fields(config):
            names = [n.split(".")[-1] for n in self.rules.open_fields(config)]
            raise FolderError(
                "A trained model leaves only these fields to be changed: "
                f"{', '.join(names)}. Received: {', '.join(changes)}"
            )
        return changed

    def _closed_fields(self, config):
        fields = fields_of(config, ("",))
        open_fields = self.rules.open_fields(config)
        return {n: fields[n] for n in fields if n not in open_fields}

    def check_same(self, config, also=()):
        """Refuses to go on with another model than the folder's.

        Args:
            config: The configuration of now.
            also: Further names of fields that have to be the same.

        Raises:
            FolderError: naming the fields that differ.
        """
        if not self.has_config():
            return
        fixed = (*also, *self.rules.fixed)
        old, new = (fields_of(c, fixed) for c in (self.load_config(), config))
        names = [name for name in new if old[name] != new[name]]
        if names:
            differing = [
                f"{name} (there {old[name]!r}, now {new[name]!r})"
                for name in names
            ]
            raise FolderError(
                f"{self.path} holds a model of another configuration: "
                f"{', '.join(differing)}. Take another --model_dir."
                f"{self._advice('To start from the weights of this one, ')}"
                f"{self.hint_on(names)}"
            )

    def hint_on(self, names):
        """Says more about fields that differ; a program may know more."""
        del names
        return ""

    def check_nothing_is_lost(self, needed=()):
        """Refuses to train where training would overwrite weights.

        Args:
            needed: Names of files that checkpoints are worth nothing without,
                such as a vocabulary.

        Raises:
            FolderError: if there are weights but no checkpoint to go on from,
                or checkpoints without a file that they need; it says how to go
                on.
        """
        best, training = self.best.stored(), training_folder(self.path)
        if not (best or training.stored()):
            return
        for name in needed:
            if not (self.path / name).exists():
                raise FolderError(
                    f"{self.path} has checkpoints, but not what they need: "
                    f"{name} is missing. Put it back, or take another "
                    "--model_dir."
                )
        if training.stored():
            return
        if any("averaged" in stored.about for stored in best):
            raise FolderError(
                f"{self.path} holds a mean of checkpoints, which cannot be "
                "trained on; train in the folder that they are from."
                f"{self._advice('Or start another run from it: ')}"
            )
        names = ", ".join(
            f"{stored.path.name} (score {stored.about.get('score', '?')})"
            for stored in best
        )
        raise FolderError(
            f"{self.path} has the weights of evaluations in best/, {names}, "
            f"but nothing in {training.path.name}/ to go on from: training "
            "from the beginning would replace them. The other modes work with "
            f"them as before.{self._advice('To train on from them, ')} To "
            "begin anew here, move best/ away."
        )

    def start_from(self):
        """Flags that start another run from these weights, if there are any."""
        return ""

    def _advice(self, lead):
        flags = self.start_from()
        return f" {lead}{flags}." if flags else ""

    def save_results(self, results):
        """Writes the results of the finished run, its `config` among them."""
        write_json(self._results_path, results)

    def load_results(self, config):
        """Reads the results if the run finished with this config, or None."""
        results = read_json(self._results_path)
        if results and self._read(results["config"]) == config:
            return results
        return None

    def save_weights(self, model, identity, step=0, **about):
        """Writes weights as the best, in place of those that were.

        Args:
            model: A built Keras model.
            identity: dict. What makes the run, see `Task`.
            step: int. Updates that it has had.
            **about: What else is to be known of it, as JSON has it.

        Raises:
            CheckpointError: if the disk does not take it.
        """
        earlier = self.best.stored()
        write = tf.train.Checkpoint(model=weights_by_path(model)).write
        self.best.write(step, write, {"identity": identity, **about})
        for stored in earlier:
            self.best.remove(stored)

    def load_weights(self, model, identity):
        """Loads the best weights of the run into a model.

        Args:
            model: A built Keras model of the run's configuration.
            identity: dict. What makes the run, to be compared.

        Raises:
            FolderError: if nothing was saved yet.
            CheckpointError: if what was saved cannot be used.
        """
        try:
            found = load_best(self.path, model, identity)
        except DamagedCheckpoint as error:
            raise CheckpointError(
                f"{error} No checkpoint in {self.best.path} is whole. "
                "Train on (delete results.json if training was over), and "
                "another is made from the last weights."
            ) from error
        if found is None:
            raise FolderError(
                f"No checkpoint in {self.best.path} yet. Train on with "
                "--mode=train_and_evaluate."
            )

    def build_model(self, config):
        """Builds a model with fresh weights; each kind of model has its own."""
        raise NotImplementedError

    def identity(self, config, vocabulary):
        """Returns what makes the run, for its checkpoints: see `Task`."""
        raise NotImplementedError

    def save_vocabulary(self, config, vocabulary):
        """Writes the vocabulary of the run."""
        raise NotImplementedError

    def load_vocabulary(self, config):
        """Reads the vocabulary of the run."""
        raise NotImplementedError

    def save_model(self, config, model, vocabulary, step=0, **about):
        """Makes this the folder of a trained model.

        Its configuration and its vocabulary are written, and its weights as
        the best, in place of those that were.

        Args:
            config: The configuration of the model.
            model: A built Keras model.
            vocabulary: Its vocabulary, as `save_vocabulary` takes it.
            step: int. Updates that it has had.
            **about: What else is to be known of it, as JSON has it.

        Raises:
            CheckpointError: if the disk does not take it.
        """
        self.save_config(config)
        self.save_vocabulary(config, vocabulary)
        identity = self.identity(config, vocabulary)
        self.save_weights(model, identity, step, **about)

    def load_model(self, config):
        """Loads the best model of the run and its vocabulary.

        Raises:
            FolderError: if nothing was saved yet.
            CheckpointError: if what was saved cannot be used.
        """
        vocabulary = self.load_vocabulary(config)
        model = self.build_model(config)
        self.load_weights(model, self.identity(config, vocabulary))
        return model, vocabulary

    def _read(self, values):
        try:
            return self.rules.read(values)
        except ValueError as error:
            raise FolderError(str(error)) from error
