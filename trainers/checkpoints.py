"""The last checkpoints of a run and its best ones: what they hold."""

import contextlib
import json
import math
import pathlib
import re

import tensorflow as tf

from moe_keras.parallel.replica_weight import gather_pieces, gather_whole
from moe_keras.parallel.sums import SumsOfReplicas
from moe_keras.shards import Whole, shard_of, whole_variables
from trainers.checkpoint_files import (
    CheckpointError,
    CheckpointFolder,
    DamagedCheckpoint,
)


def weights_by_path(model):
    """The weights of a Keras model for `tf.train.Checkpoint`, by name.

    TensorFlow's object graph does not see layers that Keras keeps in a list:
    a checkpoint of the model itself would silently leave them out.

    Args:
        model: A built Keras model.

    Returns:
        dict of variables. Keys are paths below the model's own name.

    Raises:
        ValueError: if two weights have one path; name the layers apart.

    Example:

    >>> import keras
    >>> layers = [keras.layers.Dense(1, name="out")]
    >>> model = keras.Sequential([keras.Input((2,)), *layers])
    >>> sorted(weights_by_path(model))
    ['out/bias', 'out/kernel']
    """
    paths = {}
    for weight in model.weights:
        shard = shard_of(weight)
        path = weight.path if shard is None else shard.path
        path = path.removeprefix(f"{model.name}/")
        if path in paths and shard is None:
            raise ValueError(
                f"Two weights of {model.name} have the path {path!r}: a "
                "checkpoint could not tell them apart. Give their layers "
                "names of their own."
            )
        paths.setdefault(path, []).append(weight)
    return {
        path: whole_variables(weights)[0] for path, weights in paths.items()
    }


def copy_weights(source, target=None):
    """Gives a model the weights of another one, by their paths.

    Args:
        source: A built Keras model, perhaps of several replicas. If these
            have different parts of its weights, all workers must call this.
        target: A built Keras model with weights of the same paths, or None
            for a worker that only helps the others.
    """
    targets = {} if target is None else weights_by_path(target)
    for path, weight in weights_by_path(source).items():
        if isinstance(weight, Whole):
            weight = _gather(weight)
        if targets:
            targets[path].assign(tf.convert_to_tensor(weight))


def _gather(whole):
    if whole.of_replicas is None:  # of a layout: all shards are this process's
        return whole.numpy()
    return gather_whole(whole.of_replicas)


def _states(model):
    """What else a model remembers: states of random generators, metrics."""
    weights = {id(weight) for weight in model.weights}
    return [v.value for v in model.variables if id(v) not in weights]


class Checkpoints:
    """Saves and restores whatever it is given.

    Layout: `MODEL_DIR/checkpoints/` holds the last few states of training,
    `MODEL_DIR/best/` the weights of the best evaluations.

    Args:
        model_dir: str or path.
        keep: int. How many of the last states are kept.
        keep_best: int. How many of the best evaluations are kept.
        model: The Keras model; its weights are all that `best` needs.
        optimizer: Its Keras optimizer, built.
        identity: dict. What makes the run, field by field: a checkpoint with
            other values is not restored.
        measure: dict. What a score was measured on. Scores of different
            measures are not compared.
        log: Function of one line of text.
        **state: Everything else that training has to remember.
    """

    def __init__(
        self,
        model_dir,
        keep,
        keep_best,
        model,
        optimizer,
        identity=None,
        measure=None,
        log=print,
        **state,
    ):
        self._keep = keep
        self._keep_best = keep_best
        self._identity = as_json(identity or {})
        self._measure = as_json(measure or {})
        self._log = log
        self._training = training_folder(model_dir)
        self._best = best_folder(model_dir)
        weights = weights_by_path(model)
        beside = whole_variables(optimizer.variables)
        self._sums = SumsOfReplicas(_states(model), model.distribute_strategy)
        self._weights = tf.train.Checkpoint(model=weights)
        self._state = tf.train.Checkpoint(
            model=weights,
            states=self._sums.to_save,
            optimizer=beside,
            **state,
        )
        average = state.get("average", {"averages": []})["averages"]
        self._wholes = [
            whole
            for whole in (*weights.values(), *beside, *average)
            if isinstance(whole, Whole)
        ]

    @contextlib.contextmanager
    def gathered(self, workers):
        """Within the block the chief can save what all workers have.

        All workers enter it at the same point.
        """
        if workers.count > 1:
            gather_pieces(self._wholes, keeps=workers.is_chief)
            self._sums.gather()
        try:
            yield
        finally:
            for whole in self._wholes:
                whole.pieces_elsewhere.clear()

    def save(self, step):
        """Saves the state of training; the oldest one beyond `keep` goes.

        Raises:
            CheckpointError: if the disk does not take it.
        """
        about = {"identity": self._identity, "measure": self._measure}
        self._training.write(step, self._state.write, about)
        for stored in self._training.stored()[: -self._keep]:
            self._training.remove(stored)

    def save_best(self, step, score, is_best):
        """Keeps the model if it is the best, or among the `keep_best` best.

        Args:
            step: int.
            score: float, higher is better.
            is_best: bool. Whether it is the best in any case.

        Raises:
            CheckpointError: if the disk does not take it.
        """
        rivals = [
            stored
            for stored in by_score(self._best.stored())
            if _agree(stored.about.get("measure", {}), self._measure)
            and stored.step != step  # reached once more: replaced
        ]
        full = len(rivals) >= self._keep_best
        lowest = rivals[-self._keep_best].about["score"] if full else -math.inf
        if not is_best and not score > lowest:
            return
        about = {
            "identity": self._identity,
            "measure": self._measure,
            "score": score,
        }
        new = self._best.write(step, self._weights.write, about)
        beside = rivals[max(0, len(rivals) + 1 - self._keep_best) :]
        staying = {stored.path for stored in (new, *beside)}
        for stored in self._best.stored():
            if stored.path not in staying:
                self._best.remove(stored)

    def restore(self):
        """Restores the last whole state of training.

        A damaged one is named in the log and set aside, and the one before it
        is taken.

        Returns:
            `(step, is_same_measure)` of what was restored, or None if nothing
            was saved yet.

        Raises:
            CheckpointError: if all that was saved is damaged, or is of
                another configuration or version.
        """
        name = self.find()
        return None if name is None else self.load(name)

    def find(self):
        """Name of the last whole state of training, or None; see `restore`."""
        damaged = []
        for stored in reversed(self._training.stored()):
            try:
                self._training.verify(stored)
            except DamagedCheckpoint as error:
                damaged.append((stored, error))
                continue
            check_identity(stored, self._identity)
            for torn, error in damaged:
                self._training.set_aside(torn)
                self._log(f"{error} The checkpoint before it is taken.")
            return stored.path.name
        if damaged:
            raise CheckpointError(
                f"No checkpoint in {self._training.path} is whole: "
                f"{' '.join(str(error) for _, error in damaged)} Move the "
                "folder away to start anew."
            )
        return None

    def load(self, name):
        """Restores the state of training that `find` has found.

        Args:
            name: str. Perhaps another process has found it.

        Returns:
            As `restore`.

        Raises:
            CheckpointError: if it is not there, or does not fit.
        """
        for stored in self._training.stored():
            if stored.path.name == name:
                read(self._state, stored)
                self._sums.share_out()
                is_same = _agree(stored.about["measure"], self._measure)
                return stored.step, is_same
        raise CheckpointError(
            f"There is no {name} in {self._training.path}, though the chief "
            "sees it: all workers must have the same folder under this path."
        )


def training_folder(model_dir):
    """Where the last states of training are."""
    return CheckpointFolder(pathlib.Path(model_dir) / "checkpoints")


def best_folder(model_dir):
    """Where the weights of the best evaluations are."""
    return CheckpointFolder(pathlib.Path(model_dir) / "best")


def by_score(checkpoints):
    """Checkpoints of `best` with the best one last.

    Of two measures the latest counts, and those of the older one come first.
    """
    latest = checkpoints[-1].about.get("measure", {}) if checkpoints else {}
    return sorted(
        checkpoints,
        key=lambda stored: (
            _agree(stored.about.get("measure", {}), latest),
            stored.about.get("score", -math.inf),
        ),
    )


def check_identity(stored, identity):
    """Refuses a checkpoint of another configuration.

    Args:
        stored: `Stored`.
        identity: dict, field by field. Fields that only one of them has were
            added by a later version and are passed over.

    Raises:
        CheckpointError: naming the fields that differ.
    """
    there, here = stored.about["identity"], as_json(identity)
    differing = [
        f"{name} (there {there[name]!r}, now {here[name]!r})"
        for name in sorted({*there} & {*here})
        if there[name] != here[name]
    ]
    if differing:
        raise CheckpointError(
            f"{stored.path} is a checkpoint of another configuration: "
            f"{', '.join(differing)}."
        )


def _agree(fields, others):
    """Whether all fields are equal that both have; versions may add some."""
    return all(fields[name] == others[name] for name in {*fields} & {*others})


def read_weights(stored, model):
    """Puts the weights of a checkpoint, of either kind, into a model."""
    read(tf.train.Checkpoint(model=weights_by_path(model)), stored)


def read(checkpoint, stored):
    """Restores a `tf.train.Checkpoint` from what holds at least all of it.

    Raises:
        CheckpointError: if something is missing or of another shape.
    """
    try:
        status = checkpoint.read(stored.prefix).expect_partial()
        status.assert_existing_objects_matched()
        return
    except AssertionError as error:
        missing = sorted(re.findall(r"<tf.Variable '([^':]+)", str(error)))
        reason = f"it has no {', '.join(missing)}"
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
    raise CheckpointError(
        f"{stored.path} does not fit this model, or this version of the "
        f"program: {reason}."
    )


def load_best(model_dir, model, identity=None):
    """Puts the best weights of a run into a model, without its training state.

    A damaged checkpoint is passed over if there is another.

    Args:
        model_dir: str or path.
        model: A built Keras model of the same configuration.
        identity: dict as for `Checkpoints`, to be compared.

    Returns:
        The path of the checkpoint, or None if there is none.

    Raises:
        CheckpointError: if none is whole, or it does not fit the model.
    """
    folder = best_folder(model_dir)
    found = folder.stored()
    errors = []
    for stored in reversed(by_score(found)):
        try:
            folder.verify(stored)
        except DamagedCheckpoint as error:
            errors.append(error)
            continue
        if identity is not None:
            check_identity(stored, identity)
        read_weights(stored, model)
        return stored.path
    if folder.stored() != found:  # a training run has replaced them meanwhile
        return load_best(model_dir, model, identity)
    if errors:
        raise errors[0]
    return None


def as_json(values):
    """Values as they are after being written and read: tuples are lists."""
    return json.loads(json.dumps(values))
