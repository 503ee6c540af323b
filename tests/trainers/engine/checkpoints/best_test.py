"""Which weights are kept as the best, and which of them are taken."""

import pytest
from small_checkpoints import small_checkpoints, small_stack, tear

from trainers.engine.checkpoints.best import best_folder, load_best
from trainers.engine.checkpoints.files import CheckpointError


def _scores(folder):
    stored = best_folder(folder).stored()
    return {each.step: each.about["score"] for each in stored}


def test_lower_score_does_not_replace_the_best(tmp_path):
    checkpoints = small_checkpoints(tmp_path)
    checkpoints.save_best(1, 5.0, True)
    checkpoints.save_best(2, 4.0, False)
    assert _scores(tmp_path) == {1: 5.0}


def test_the_best_few_are_kept(tmp_path):
    checkpoints = small_checkpoints(tmp_path, keep_best=2)
    best = -1.0
    kept = []
    for step, score in enumerate((3.0, 1.0, 2.0, 2.0, 4.0, 0.0)):
        checkpoints.save_best(step, score, score > best)
        best = max(best, score)
        kept.append(set(_scores(tmp_path)))
    assert kept == [{0}, {0, 1}, {0, 2}, {0, 2}, {0, 4}, {0, 4}]


def test_of_equal_scores_lower_perplexities_are_kept_and_taken(tmp_path):
    checkpoints = small_checkpoints(tmp_path, keep_best=2)
    best = float("inf")
    for step, perplexity in ((1, 50.0), (2, 30.0), (3, 40.0), (4, 60.0)):
        is_best = perplexity < best
        best = min(best, perplexity)
        checkpoints.save_best(step, 0.0, is_best, perplexity)
    assert _scores(tmp_path) == {2: 0.0, 3: 0.0}
    model, _ = small_stack(1)
    assert load_best(tmp_path, model).name == "step-2"
    assert checkpoints.best_score_left() == (0.0, 30.0)


def test_step_that_is_reached_again_is_kept_once(tmp_path):
    checkpoints = small_checkpoints(tmp_path, keep_best=3)
    for step, score in ((1, 3.0), (2, 5.0), (2, 5.0)):
        checkpoints.save_best(step, score, True)
    assert _scores(tmp_path) == {1: 3.0, 2: 5.0}
    assert len(best_folder(tmp_path).stored()) == 2


def test_scores_of_another_measure_give_way(tmp_path):
    old = small_checkpoints(tmp_path, keep_best=2, score_identity={"dev": "a"})
    old.save_best(1, 50.0, True)
    old.save_best(2, 60.0, True)
    new = small_checkpoints(tmp_path, keep_best=2, score_identity={"dev": "b"})
    new.save_best(2, 10.0, True)
    assert _scores(tmp_path) == {2: 10.0}
    # They give way, and are not deleted.
    names = {path.name for path in best_folder(tmp_path).path.iterdir()}
    assert names == {"step-1.earlier", "step-2.earlier", "step-2-2"}


@pytest.mark.parametrize("step", [2, 4])
def test_better_one_of_a_later_step_is_never_deleted(tmp_path, step):
    checkpoints = small_checkpoints(tmp_path)
    checkpoints.save_best(4, 31.0, True)
    # Gone back to a checkpoint of step 1, whose best score is below 25.
    checkpoints.save_best(step, 25.0, True)
    assert 31.0 in [s.about["score"] for s in best_folder(tmp_path).stored()]
    model, _ = small_stack(1)
    assert load_best(tmp_path, model).name == "step-4"


def test_best_that_is_torn_gives_way_to_the_next(tmp_path):
    checkpoints = small_checkpoints(tmp_path, keep_best=2)
    checkpoints.save_best(1, 5.0, True)
    checkpoints.save_best(2, 4.0, False)
    model, _ = small_stack(1)
    assert load_best(tmp_path, model).name == "step-1"
    tear(best_folder(tmp_path).stored()[0])
    assert load_best(tmp_path, model).name == "step-2"
    tear(best_folder(tmp_path).stored()[1])
    with pytest.raises(CheckpointError, match="step-1/ckpt.* is torn"):
        load_best(tmp_path, model)
