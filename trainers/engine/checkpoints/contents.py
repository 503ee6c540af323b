"""Contents of a checkpoint: named variables, saved and restored."""

import contextlib
import re

import tensorflow as tf

from moe_keras.parallel.replicas.saving import (
    SumsOfReplicas,
    gather_pieces,
    gather_whole,
)
from moe_keras.placement.shards import Whole, shard_of, whole_variables
from trainers.engine.checkpoints.files import CheckpointError

# Variables that checkpoints of earlier versions lack: they stay as they are.
_ADDED = {"best_perplexity", "average_decayed", "average_right_at"}


def weights_by_path(model):
    """Maps paths to the weights of a Keras model, for `tf.train.Checkpoint`.

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
    """Copies weights from one model to another, by their paths.

    Args:
        source: A built Keras model, perhaps of several replicas. If these
            have different parts of its weights, all workers must call this.
        target: A built Keras model with weights of the same paths, or None
            for a worker that only helps the others.
    """
    targets = {} if target is None else weights_by_path(target)
    for path, weight in weights_by_path(source).items():
        if isinstance(weight, Whole):
            weight = _gather(weight, keeps=bool(targets))
        if targets:
            targets[path].assign(tf.convert_to_tensor(weight))


def _gather(whole, keeps):
    if whole.of_replicas is None:  # of a layout: all shards are this process's
        return whole.numpy()
    return gather_whole(whole.of_replicas, keeps)


def _states(model):
    """Lists the other variables: states of random generators, metrics."""
    weights = {id(weight) for weight in model.weights}
    return [v.value for v in model.variables if id(v) not in weights]


class TrainingState:
    """All that training has to remember.

    Args:
        model: A built Keras model.
        optimizer: Its Keras optimizer, built.
        **others: What else there is, as `tf.train.Checkpoint` takes it.

    Attributes:
        weights: `tf.train.Checkpoint` of the model's weights alone.
        everything: `tf.train.Checkpoint` of all.

    Example:

    >>> import tempfile
    >>> import keras
    >>> from trainers.engine.checkpoints.files import CheckpointFolder
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> optimizer = keras.optimizers.SGD()
    >>> optimizer.build(model.trainable_variables)
    >>> step = tf.Variable(7)
    >>> state = TrainingState(model, optimizer, step=step)
    >>> folder = CheckpointFolder(tempfile.mkdtemp())
    >>> stored = folder.write(7, state.everything.write, {})
    >>> _ = step.assign(0)
    >>> state.read(stored)
    >>> int(step)
    7
    """

    def __init__(self, model, optimizer, **others):
        weights = weights_by_path(model)
        beside = whole_variables(optimizer.variables)
        self._sums = SumsOfReplicas(_states(model), model.distribute_strategy)
        self.weights = tf.train.Checkpoint(model=weights)
        self._parts = {
            "model": weights,
            "states": self._sums.to_save,
            "optimizer": beside,
            **others,
        }
        self.everything = tf.train.Checkpoint(**self._parts)
        # Places of several workers in data of their own: see `own_batches.py`.
        self._places = [
            x
            for x in (others.get("batches"),)
            if hasattr(x, "gather") and hasattr(x, "scatter")
        ]
        average = others.get("average", {"averages": []})["averages"]
        self._wholes = [
            whole
            for whole in (*weights.values(), *beside, *average)
            if isinstance(whole, Whole)
        ]

    @contextlib.contextmanager
    def gathered(self, workers):
        """Context manager: the chief has the parts of all workers to save.

        All workers enter it at the same point.
        """
        if workers.count > 1:
            gather_pieces(self._wholes, keeps=workers.is_chief)
            self._sums.gather()
        for places in self._places:
            places.gather()
        try:
            yield
        finally:
            for whole in self._wholes:
                whole.pieces_elsewhere.clear()

    def read(self, stored, without=()):
        """Restores everything from a `Stored` checkpoint.

        Args:
            stored: `Stored`.
            without: Names of `others` that stay as they are.

        Raises:
            CheckpointError: if it does not fit.
        """
        parts = {n: x for n, x in self._parts.items() if n not in without}
        read(tf.train.Checkpoint(**parts), stored)
        self._sums.scatter()
        if "batches" not in without:
            for places in self._places:
                places.scatter()


def read_weights(stored, model):
    """Puts the weights of a checkpoint, of either kind, into a model."""
    read(tf.train.Checkpoint(model=weights_by_path(model)), stored)


def read(checkpoint, stored):
    """Restores a `tf.train.Checkpoint`; the files may hold more than it.

    Raises:
        CheckpointError: if something is missing or of another shape.
    """
    try:
        status = checkpoint.read(stored.prefix).expect_partial()
        status.assert_existing_objects_matched()
        return
    except AssertionError as error:
        missing = sorted(re.findall(r"<tf.Variable '([^':]+)", str(error)))
        if missing and set(missing) <= _ADDED:
            return
        reason = f"it has no {', '.join(missing)}"
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
    raise CheckpointError(
        f"{stored.path} does not fit this model, or this version of the "
        f"program: {reason}."
    )
