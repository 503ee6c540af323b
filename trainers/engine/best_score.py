"""Which evaluation was the best, and how long ago."""

import math

import tensorflow as tf


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
        """Takes in an evaluation.

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
        """Forgets everything: scores of another measure say nothing."""
        self.set_best(-math.inf, math.inf)
        self.evaluations_since.assign(0)

    def set_best(self, score, perplexity):
        """Takes this for the best so far, without counting an evaluation."""
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
