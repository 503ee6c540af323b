"""The last checkpoints of a run and its best one."""

import pathlib

import tensorflow as tf


class Checkpoints:
    """Saves and restores whatever it is given.

    Layout: `MODEL_DIR/checkpoints/` holds the last few states of training,
    `MODEL_DIR/best/` the weights of the best evaluation.

    Args:
        model_dir: str or path.
        keep: int. How many of the last states are kept.
        model: The Keras model; all that `best` needs.
        **state: Everything else that training has to remember.
    """

    def __init__(self, model_dir, keep, model, **state):
        model_dir = pathlib.Path(model_dir)
        self.best_score = tf.Variable(
            float("-inf"), dtype=tf.float64, trainable=False
        )
        self._training = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                model=model, best_score=self.best_score, **state
            ),
            str(model_dir / "checkpoints"),
            max_to_keep=keep,
        )
        self._best = tf.train.CheckpointManager(
            tf.train.Checkpoint(model=model),
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
        path = self._best.latest_checkpoint
        if path is not None:
            self._best.checkpoint.restore(
                path
            ).assert_existing_objects_matched()
        return path
