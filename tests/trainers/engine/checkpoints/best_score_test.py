"""The best score and the patience with those that follow."""

import math

import tensorflow as tf

from trainers.engine.checkpoints.best import BestScore


def test_equal_score_is_not_better():
    best = BestScore()
    assert best.add(-3.0)
    assert not best.add(-3.0)
    assert int(best.evaluations_since) == 1


def test_lower_perplexity_decides_between_equal_scores():
    best = BestScore()
    assert best.add(0.0, perplexity=50.0)
    assert best.add(0.0, perplexity=40.0)
    assert not best.add(0.0, perplexity=40.0)
    assert not best.add(0.0, perplexity=45.0)
    assert int(best.evaluations_since) == 2
    assert not best.add(0.0, perplexity=math.nan)
    # A better score is better whatever its perplexity.
    assert best.add(0.1, perplexity=math.nan)
    assert best.add(0.1, perplexity=90.0)


def test_better_score_begins_the_count_anew():
    best = BestScore()
    for score in (1.0, 0.5, 0.7, 2.0):
        best.add(score)
    assert (float(best.score), int(best.evaluations_since)) == (2.0, 0)


def test_nan_is_never_the_best_not_even_the_first():
    best = BestScore()
    assert not best.add(math.nan)
    assert float(best.score) == -math.inf
    assert best.add(-100.0)


def test_comes_back_from_a_checkpoint(tmp_path):
    best, other = BestScore(), BestScore()
    for score in (4.0, 1.0, 2.0):
        best.add(score)
    path = tf.train.Checkpoint(best=best).write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(best=other).read(path).assert_consumed()
    assert (float(other.score), int(other.evaluations_since)) == (4.0, 2)


def test_restart_forgets_score_and_count():
    best = BestScore()
    best.add(4.0)
    best.add(1.0)
    best.restart()
    assert int(best.evaluations_since) == 0
    assert best.add(0.5)
