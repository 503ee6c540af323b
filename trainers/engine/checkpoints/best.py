"""The weights of the best evaluations: which are kept, and which is taken."""

import logging
import math
import pathlib

from trainers.engine.best_score import is_better
from trainers.engine.checkpoints.contents import read_weights
from trainers.engine.checkpoints.files import (
    CheckpointFolder,
    DamagedCheckpoint,
)
from trainers.engine.checkpoints.identity import agree, check_identity


class BestCheckpoints:
    """Keeps the best few of what it is given, in `MODEL_DIR/best/`.

    What was kept by another measure, and so cannot be compared, is renamed to
    `step-N.earlier`, and stays.

    Args:
        model_dir: str or path.
        keep: int. How many are kept.
        about: dict of the `identity` of the run and the `measure` of its
            scores, as JSON has them. Scores of different measures are not
            compared.

    Example:

    >>> import tempfile
    >>> import tensorflow as tf
    >>> model_dir = tempfile.mkdtemp()
    >>> about = {"identity": {}, "measure": {"dev": "a"}}
    >>> best = BestCheckpoints(model_dir, 2, about)
    >>> write = tf.train.Checkpoint(v=tf.Variable(3.0)).write
    >>> for step, score in ((1, 5.0), (2, 7.0), (3, 6.0), (4, 4.0)):
    ...     best.save(step, score, is_best=score == 7.0, write=write)
    >>> [stored.step for stored in by_score(best_folder(model_dir).stored())]
    [3, 2]
    """

    def __init__(self, model_dir, keep, about):
        self._folder = best_folder(model_dir)
        self._keep = keep
        self._about = about

    def save(self, step, score, is_best, write, perplexity=math.inf):
        """Keeps a model if it is the best, or among the `keep` best.

        Args:
            step: int.
            score: float, higher is better.
            is_best: bool. Whether it is the best in any case.
            write: Function that writes its weights, such as
                `tf.train.Checkpoint.write`.
            perplexity: float, lower is better, between equal scores.

        Raises:
            CheckpointError: if the disk does not take it.
        """
        new = score, -perplexity
        rivals = self._rivals(step, new)
        full = len(rivals) >= self._keep
        lowest = rank(rivals[-self._keep]) if full else (-math.inf, 0.0)
        if not is_best and not is_better(new, lowest):
            return
        about = {**self._about, "score": score}
        if perplexity < math.inf:  # which JSON does not have
            about["perplexity"] = perplexity
        written = self._folder.write(step, write, about)
        beside = rivals[max(0, len(rivals) + 1 - self._keep) :]
        # A better one that the run does not remember, since it has gone back
        # to an earlier checkpoint, is never deleted.
        better = [stored for stored in rivals if is_better(rank(stored), new)]
        staying = {stored.path for stored in (written, *beside, *better)}
        for stored in self._folder.stored():
            if not self._is_comparable(stored):
                self._folder.set_aside(stored, "earlier")
            elif stored.path not in staying:
                self._folder.remove(stored)

    def verified_score(self, log):
        """Reads all of them in full; damaged ones are named and set aside.

        Args:
            log: Function of one line of text.

        Returns:
            `(score, perplexity)` of the best that is left, floats; the score
            is -inf if none is, and the perplexity inf if it is not known.
        """
        for stored in self._folder.stored():
            try:
                self._folder.verify(stored)
            except DamagedCheckpoint as error:
                self._folder.set_aside(stored)
                log(f"{error} This checkpoint is set aside.")
        left = [rank(stored) for stored in self._rivals()]
        score, minus_perplexity = max(left, default=(-math.inf, -math.inf))
        return score, -minus_perplexity

    def _rivals(self, step=None, new=(math.inf, math.inf)):
        """What was kept by the same measure, with the best one last.

        One of the same `step` that is no better than the rank of the `new`
        one is to be replaced, since the step was reached once more.
        """
        return [
            stored
            for stored in by_score(self._folder.stored())
            if self._is_comparable(stored)
            and "score" in stored.about  # which a torn manifest cannot tell
            and (stored.step != step or is_better(rank(stored), new))
        ]

    def _is_comparable(self, stored):
        there = stored.about.get("measure", {})
        return agree(there, self._about["measure"])


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
            agree(stored.about.get("measure", {}), latest),
            rank(stored),
        ),
    )


def rank(stored):
    """Score and minus perplexity of a checkpoint: the higher, the better."""
    about = stored.about
    perplexity = about.get("perplexity", math.inf)
    return about.get("score", -math.inf), -perplexity


def load_best(model_dir, model, identity=None):
    """Puts the best weights of a run into a model, without its training state.

    A damaged checkpoint is passed over, with a warning, if there is another.

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
        for error in errors:
            logging.getLogger(__name__).warning(
                "%s %s is taken in its place.", error, stored.path
            )
        return stored.path
    if folder.stored() != found:  # a training run has replaced them meanwhile
        return load_best(model_dir, model, identity)
    if errors:
        raise errors[0]
    return None
