"""Damage in `best` is named, and a run goes on to weights that are whole."""

import dataclasses
import itertools
import logging

from small_checkpoints import small_checkpoints, small_stack, tear
from small_loop import CONFIG, line_model, run_loop, scores_of

from trainers.engine.checkpoints.best import best_folder, load_best

LONGER = dataclasses.replace(CONFIG, steps=9)


def scores(folder):
    stored = best_folder(folder).stored()
    return {each.step: each.about["score"] for each in stored}


def test_lost_best_is_named_and_found_anew(tmp_path):
    run_loop(CONFIG, tmp_path, scores=(5.0, 9.0))  # after steps 3 and 6
    tear(best_folder(tmp_path).stored()[0])
    # Evaluated at once, since the last evaluation has nothing to show.
    loop, _, lines = run_loop(LONGER, tmp_path, scores=(2.0, 1.0))
    assert lines[1].startswith(f"{best_folder(tmp_path).path / 'step-6'}/")
    assert " is torn" in lines[1]
    assert lines[1].endswith(" This checkpoint is set aside.")
    assert lines[2] == (
        "The best weights, of score 9.00, are lost: the search for the best "
        "begins anew."
    )
    assert scores(tmp_path) == {6: 2.0}
    assert float(loop.best.score) == 2.0
    assert int(loop.best.evaluations_since) == 1


def test_best_that_was_deleted_is_found_anew(tmp_path):
    run_loop(CONFIG, tmp_path, scores=(5.0, 9.0))
    folder = best_folder(tmp_path)
    folder.remove(folder.stored()[0])
    run_loop(LONGER, tmp_path, scores=(2.0, 1.0))
    assert scores(tmp_path) == {6: 2.0}


def test_search_goes_on_from_the_best_that_is_left(tmp_path):
    config = dataclasses.replace(CONFIG, keep_best=2)
    run_loop(config, tmp_path, scores=(9.0, 5.0))
    tear(best_folder(tmp_path).stored()[0])
    longer = dataclasses.replace(LONGER, keep_best=2)
    loop, _, lines = run_loop(longer, tmp_path, scores=(6.0,))
    assert lines[2] == (
        "The best weights, of score 9.00, are lost: the best that are left "
        "have 5.00."
    )
    assert "(best)" in lines[-1]
    assert scores(tmp_path) == {6: 5.0, 9: 6.0}


def test_damage_among_the_others_changes_nothing(tmp_path):
    config = dataclasses.replace(CONFIG, keep_best=2)
    run_loop(config, tmp_path, scores=(5.0, 9.0))
    tear(best_folder(tmp_path).stored()[0])
    longer = dataclasses.replace(LONGER, keep_best=2)
    loop, _, lines = run_loop(longer, tmp_path, scores=(6.0,))
    assert "set aside" in lines[1] and "lost" not in " ".join(lines)
    assert float(loop.best.score) == 9.0
    assert int(loop.best.evaluations_since) == 1


def test_training_does_not_end_without_weights_that_are_whole(tmp_path):
    values = scores_of(9.0, 1.0, 1.5)
    numbers = itertools.count(1)

    def evaluate(check):
        found = values(check)
        if next(numbers) == 2:
            (best_folder(tmp_path).stored()[0].path / "ckpt.index").unlink()
        return found

    loop, model, lines = run_loop(CONFIG, tmp_path, evaluate=evaluate)
    assert "begins anew" in " ".join(lines)
    assert scores(tmp_path) == {6: 1.5}
    assert load_best(tmp_path, line_model())
    again, _, _ = run_loop(CONFIG, tmp_path, scores=())
    assert float(again.best.score) == 1.5


def test_checkpoint_with_a_torn_manifest_is_no_rival(tmp_path):
    checkpoints = small_checkpoints(tmp_path)
    checkpoints.save_best(1, 5.0, True)
    (best_folder(tmp_path).stored()[0].path / "manifest.json").write_text("{")
    checkpoints.save_best(2, 4.0, False)
    assert scores(tmp_path) == {2: 4.0}


def test_next_best_is_not_taken_in_silence(tmp_path, caplog):
    checkpoints = small_checkpoints(tmp_path, keep_best=2)
    checkpoints.save_best(1, 5.0, True)
    checkpoints.save_best(2, 4.0, False)
    model, _ = small_stack(1)
    with caplog.at_level(logging.WARNING):
        load_best(tmp_path, model)
        assert not caplog.messages
        tear(best_folder(tmp_path).stored()[0])
        load_best(tmp_path, model)
    (line,) = caplog.messages
    assert "step-1/" in line and "torn" in line
    assert "step-2 is taken" in line
