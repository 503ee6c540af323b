"""The best evaluations: the best score, and the weights that are kept."""

import logging
import math
import pathlib

import tensorflow as tf

from trainers.engine.checkpoints.contents import read_weights
from trainers.engine.checkpoints.files import (
    CheckpointFolder,
    DamagedCheckpoint,
)
from trainers.engine.checkpoints.identity import agree, check_identity

# The key in manifests for what a score depends on; stored, so it stays.
SCORE_IDENTITY = "measure"


class BestScore(tf.Module):
    """The best score of a run, and how many evaluations have not reached it.

    Of equal scores the one of lower perplexity is better: a score such as BLEU
    may be zero for many evaluations while the model learns.

    All are variables, to be kept in checkpoints.

    Example:

    >>> best = BestScore()
    >>> [best.add(score) for score in (1.0, 3.0, 3.0, 2.0, float("nan"))]
    [True, True, False, False, False]
    >>> float(best.score), int(best.evaluations_since)
    (3.0, 3)
    >>> best.add(3.0, perplexity=7.5), best.add(3.0, perplexity=8.0)
    (True, False)
    """

    def __init__(self):
        super().__init__(name="best_score")
        self.score = tf.Variable(
            float("-inf"), dtype=tf.float64, trainable=False
        )
        # Checkpoints of earlier versions lack it: see `contents.py`.
        self.perplexity = tf.Variable(
            float("inf"),
            dtype=tf.float64,
            trainable=False,
            name="best_perplexity",
        )
        self.evaluations_since = tf.Variable(0, dtype=tf.int64, trainable=False)

    def add(self, score, perplexity=math.inf):
        """Adds an evaluation.

        Args:
            score: float, higher is better. NaN is never the best.
            perplexity: float, lower is better; it decides between equal
                scores.

        Returns:
            bool. Whether it is better than all before it.
        """
        if math.isnan(perplexity):
            perplexity = math.inf
        best = float(self.score), -float(self.perplexity)
        is_best = is_better((score, -perplexity), best)
        if is_best:
            self.score.assign(score)
            self.perplexity.assign(perplexity)
            self.evaluations_since.assign(0)
        else:
            self.evaluations_since.assign_add(1)
        return is_best

    def restart(self):
        """Forgets everything, since later scores cannot be compared with it."""
        self.set_best(-math.inf, math.inf)
        self.evaluations_since.assign(0)

    def set_best(self, score, perplexity):
        """Sets the best so far, without counting an evaluation."""
        self.score.assign(score)
        self.perplexity.assign(perplexity)


def is_better(rank, other):
    """Whether one `(score, -perplexity)` is better than another.

    NaN is never better.

    Example:

    >>> is_better((3.0, -9.0), (2.0, -1.0)), is_better((3.0, -9.0), (3.0, -9.0))
    (True, False)
    >>> is_better((3.0, -8.0), (3.0, -9.0))
    True
    """
    return rank[0] > other[0] or rank[0] == other[0] and rank[1] > other[1]


class BestCheckpoints:
    """Keeps the weights of the best few evaluations in `MODEL_DIR/best/`.

    If what the score depends on has changed, earlier scores cannot be
    compared: their checkpoints are renamed to `step-N.earlier` and stay.

    Args:
        model_dir: str or path.
        keep: int. How many are kept.
        about: dict of the `identity` of the run and, as `SCORE_IDENTITY`, of
            what its scores depend on, as JSON has them.

    Example:

    >>> import tempfile
    >>> model_dir = tempfile.mkdtemp()
    >>> about = {"identity": {}, SCORE_IDENTITY: {"dev": "a"}}
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
        """Reads all checkpoints in full; names and sets aside damaged ones.

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
        """Lists the checkpoints with comparable scores, the best one last.

        A checkpoint of the same `step` whose rank is no better than `new` is
        left out: the step was reached once more, and `new` replaces it.
        """
        return [
            stored
            for stored in by_score(self._folder.stored())
            if self._is_comparable(stored)
            and "score" in stored.about  # which a torn manifest cannot tell
            and (stored.step != step or is_better(rank(stored), new))
        ]

    def _is_comparable(self, stored):
        return agree(_score_identity(stored), self._about[SCORE_IDENTITY])


def best_folder(model_dir):
    """Opens the folder of the best weights."""
    return CheckpointFolder(pathlib.Path(model_dir) / "best")


def by_score(checkpoints):
    """Sorts checkpoints of `best`, the best one last.

    Scores that cannot be compared with the latest ones come first.
    """
    latest = _score_identity(checkpoints[-1]) if checkpoints else {}
    return sorted(
        checkpoints,
        key=lambda stored: (
            agree(_score_identity(stored), latest),
            rank(stored),
        ),
    )


def _score_identity(stored):
    return stored.about.get(SCORE_IDENTITY, {})


def rank(stored):
    """Ranks a checkpoint by score and minus perplexity, higher is better."""
    about = stored.about
    perplexity = about.get("perplexity", math.inf)
    return about.get("score", -math.inf), -perplexity


def load_best(model_dir, model, identity=None):
    """Loads the best weights of a run into a model.

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
