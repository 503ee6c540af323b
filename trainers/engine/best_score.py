"""Which evaluation was the best, and how long ago."""

import tensorflow as tf


class BestScore(tf.Module):
    """The best score of a run, and how many evaluations have not reached it.

    Both are variables, to be kept in checkpoints.

    Example:

    >>> best = BestScore()
    >>> [best.add(score) for score in (1.0, 3.0, 3.0, 2.0, float("nan"))]
    [True, True, False, False, False]
    >>> float(best.score), int(best.evaluations_since)
    (3.0, 3)
    """

    def __init__(self):
        super().__init__(name="best_score")
        self.score = tf.Variable(
            float("-inf"), dtype=tf.float64, trainable=False
        )
        self.evaluations_since = tf.Variable(0, dtype=tf.int64, trainable=False)

    def add(self, score):
        """Takes in an evaluation.

        Args:
            score: float, higher is better. NaN is never the best.

        Returns:
            bool. Whether it is better than all before it.
        """
        is_best = score > float(self.score)
        if is_best:
            self.score.assign(score)
            self.evaluations_since.assign(0)
        else:
            self.evaluations_since.assign_add(1)
        return is_best

    def restart(self):
        """Forgets everything: scores of another measure say nothing."""
        self.score.assign(float("-inf"))
        self.evaluations_since.assign(0)
