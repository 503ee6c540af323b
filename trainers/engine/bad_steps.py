"""Steps whose loss or gradient is not a finite number."""

import pathlib

import numpy as np
import tensorflow as tf


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


class BadSteps:
    """Counts skipped steps, and saves their batches to look at.

    Args:
        model_dir: str or path. Batches go to `MODEL_DIR/bad_steps`.
        keeps: bool. Whether this process is the one to write them.
        limit: int. The bad step that ends training, counted from 1.
        texts: Function of a batch that returns a dict of lists of str, what
            it says to people.
        log: Function of one line of text.

    Example:

    >>> import tempfile
    >>> from trainers.engine.train_step import StepResult
    >>> nan = float("nan")
    >>> bad_steps = BadSteps(tempfile.mkdtemp(), 9, lambda batch: {}, str)
    >>> result = StepResult(nan, 2.0, nan, False)
    >>> path = bad_steps.add(5, result, [{"ids": tf.constant([3, 4])}])
    >>> path.name, np.load(path)["ids"].tolist()
    ('step-5-bad-1.npz', [3, 4])
    """

    def __init__(self, model_dir, limit, texts, log, keeps=True):
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._folder = pathlib.Path(model_dir) / "bad_steps"
        self._limit = limit
        self._texts = texts
        self._log = log
        self._keeps = keeps

    def add(self, step, result, batches):
        """Counts a step that was not applied, and saves its batches.

        Args:
            step: int. The step that it would have been.
            result: `StepResult`.
            batches: List of the batches of that step.

        Returns:
            Path of the file with its batches.

        Raises:
            TrainingError: when there were too many.
        """
        count = int(self.count.assign_add(1))
        path = self._save(f"step-{step}-bad-{count}.npz", batches)
        found = (
            f"The loss of step {step} is {result.loss}, its gradient norm "
            f"{result.norm}; its batch is in {path}"
        )
        if count >= self._limit:
            raise TrainingError(
                f"{found}. With {count} such steps training ends "
                f"(max_bad_steps={self._limit}). Look at the batches, or try "
                "a lower learning_rate or clip_norm; the checkpoints before "
                "are kept, and training resumes from the last of them."
            )
        self._log(f"{found}. Step skipped ({count} so far).")
        return path

    def _save(self, name, batches):
        arrays = {}
        for number, batch in enumerate(batches):
            place = f"{number}." if len(batches) > 1 else ""
            for key, value in self._contents(batch).items():
                arrays[place + key] = value
        if self._keeps:
            self._folder.mkdir(parents=True, exist_ok=True)
            np.savez(self._folder / name, **arrays)
        return self._folder / name

    def _contents(self, batch):
        """Lists everything in a batch by name, as arrays that load anywhere."""
        if not isinstance(batch, dict):
            batch = dict(enumerate(tf.nest.flatten(batch)))
        ids = {str(name): np.asarray(value) for name, value in batch.items()}
        texts = {
            name: np.array(lines, dtype=str)
            for name, lines in self._texts(batch).items()
        }
        return ids | texts
