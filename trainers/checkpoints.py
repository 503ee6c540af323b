"""The last checkpoints of a run and its best one."""

import pathlib

import tensorflow as tf


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
        path = weight.path.removeprefix(f"{model.name}/")
        if path in paths:
            raise ValueError(
                f"Two weights of {model.name} have the path {path!r}: a "
                "checkpoint could not tell them apart. Give their layers "
                "names of their own."
            )
        paths[path] = weight.value
    return paths


def _states(model):
    """What else a model remembers: states of random generators, metrics."""
    weights = {id(weight) for weight in model.weights}
    return [v.value for v in model.variables if id(v) not in weights]


class Checkpoints:
    """Saves and restores whatever it is given.

    Layout: `MODEL_DIR/checkpoints/` holds the last few states of training,
    `MODEL_DIR/best/` the weights of the best evaluation.

    Args:
        model_dir: str or path.
        keep: int. How many of the last states are kept.
        model: The Keras model; its weights are all that `best` needs.
        optimizer: Its Keras optimizer, built.
        **state: Everything else that training has to remember.
    """

    def __init__(self, model_dir, keep, model, optimizer, **state):
        model_dir = pathlib.Path(model_dir)
        self._model_dir = model_dir
        self._model = model
        self.best_score = tf.Variable(
            float("-inf"), dtype=tf.float64, trainable=False
        )
        self._training = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                model=weights_by_path(model),
                states=_states(model),
                optimizer=[v.value for v in optimizer.variables],
                best_score=self.best_score,
                **state,
            ),
            str(model_dir / "checkpoints"),
            max_to_keep=keep,
        )
        self._best = tf.train.CheckpointManager(
            tf.train.Checkpoint(model=weights_by_path(model)),
            str(model_dir / "best"),
            max_to_keep=1,
        )

    def save(self, step):
        """Saves the state of training; the oldest one beyond `keep` goes."""
        self._training.save(checkpoint_number=step)

    def save_if_best(self, step, score):
        """Keeps the model if `score` is above all before it.

        Returns:
            bool. Whether it was.
        """
        if score <= float(self.best_score):
            return False
        self.best_score.assign(score)
        self._best.save(checkpoint_number=step)
        return True

    def restore(self):
        """Restores the last state of training.

        Returns:
            bool. Whether there was one.
        """
        path = self._training.latest_checkpoint
        if path is None:
            return False
        self._training.checkpoint.restore(path).assert_consumed()
        return True

    def restore_best(self):
        """Puts the best evaluation's weights into the model.

        Returns:
            The path of that checkpoint, or None if there is none.
        """
        return load_best(self._model_dir, self._model)


def load_best(model_dir, model):
    """Puts the best weights of a run into a model, without its training state.

    Args:
        model_dir: str or path.
        model: A built Keras model of the same configuration.

    Returns:
        The path of the checkpoint, or None if there is none.
    """
    path = tf.train.latest_checkpoint(str(pathlib.Path(model_dir) / "best"))
    if path is not None:
        checkpoint = tf.train.Checkpoint(model=weights_by_path(model))
        checkpoint.restore(path).assert_existing_objects_matched()
    return path
