"""Which evaluation is the best, and when there was none for too long."""

import dataclasses
import re

import numpy as np
import pytest
from small_loop import CONFIG, run_loop

from trainers.engine.checkpoints.best import best_folder, load_best


def test_best_weights_are_those_of_the_best_score(tmp_path):
    # The evaluation after step 3 scores higher than that after step 6.
    short = dataclasses.replace(CONFIG, steps=3)
    _, at_3, _ = run_loop(short, tmp_path / "short", scores=(9.0,))
    _, model, _ = run_loop(CONFIG, tmp_path / "long", scores=(9.0, 1.0))
    assert load_best(tmp_path / "long", model).name == "step-3"
    for a, b in zip(at_3.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_best_score_of_the_last_evaluation_is_not_forgotten(tmp_path):
    run_loop(CONFIG, tmp_path, scores=(1.0, 5.0))
    longer = dataclasses.replace(CONFIG, steps=9)
    _, _, lines = run_loop(longer, tmp_path, scores=(4.0,))
    assert "(best)" not in lines[-1]
    assert [s.step for s in best_folder(tmp_path).stored()] == [6]


def test_score_that_is_not_a_number_is_not_the_best(tmp_path):
    nan = float("nan")
    _, _, lines = run_loop(CONFIG, tmp_path, scores=(nan, 1.0))
    assert [s.step for s in best_folder(tmp_path).stored()] == [6]


def test_lower_perplexity_is_the_best_of_equal_scores(tmp_path):
    # Evaluations after steps 3 and 6; those after 9 and 12 follow a stop.
    found = ((0.0, 50.0), (0.0, 40.0), (0.0, 45.0), (0.0, 30.0))
    figures = [{"score": s, "perplexity": p} for s, p in found]
    run_loop(CONFIG, tmp_path, evaluate=_one_of(figures[:2]))
    assert _best_steps(tmp_path) == [6]
    longer = dataclasses.replace(CONFIG, steps=12)
    run_loop(longer, tmp_path, evaluate=_one_of(figures[2:]))
    assert _best_steps(tmp_path) == [12]


def _one_of(figures):
    figures = iter(figures)
    return lambda check: next(figures)


def _best_steps(folder):
    return [stored.step for stored in best_folder(folder).stored()]


def test_patience_ends_training_and_outlives_it(tmp_path):
    config = dataclasses.replace(
        CONFIG, steps=100, evaluate_every=2, patience=2
    )
    # Evaluations after steps 2 to 10: the best is the second, two follow.
    scores = (1.0, 2.0, 2.0, 1.5)
    loop, _, lines = run_loop(config, tmp_path, scores)
    assert int(loop.step) == 8
    assert lines[-1] == (
        "No better score in 2 evaluations: training ends after step 8."
    )
    again, _, _ = run_loop(config, tmp_path, scores=())
    assert int(again.step) == 8
    patient = dataclasses.replace(config, patience=3)
    later, _, _ = run_loop(patient, tmp_path, scores=(1.0,))
    assert int(later.step) == 10


@pytest.mark.parametrize("save_every", [1, 100])
def test_patience_counts_on_after_a_stop(tmp_path, save_every):
    config = dataclasses.replace(
        CONFIG, steps=4, evaluate_every=2, patience=3, save_every=save_every
    )
    run_loop(config, tmp_path, scores=(2.0, 1.0))
    longer = dataclasses.replace(config, steps=100)
    loop, _, _ = run_loop(longer, tmp_path, scores=(1.0, 1.0))
    assert int(loop.step) == 8


def test_other_measure_begins_the_search_for_the_best_anew(tmp_path):
    run_loop(
        CONFIG, tmp_path, (8.0, 9.0), score_identity={"dev": "a", "beam": 5}
    )
    longer = dataclasses.replace(CONFIG, steps=9)
    loop, _, lines = run_loop(
        longer, tmp_path, (2.0, 1.0), score_identity={"dev": "b", "beam": 5}
    )
    assert any("begins anew" in line for line in lines)
    # What is there is measured first, then what follows.
    dev = [line for line in lines if line.startswith("dev")]
    assert [re.search(r"\d+", line)[0] for line in dev] == ["6", "9"]
    assert [s.about["score"] for s in best_folder(tmp_path).stored()] == [2.0]
    assert float(loop.best.score) == 2.0


def test_same_measure_goes_on(tmp_path):
    run_loop(
        CONFIG, tmp_path, score_identity={"penalty": float("inf"), "n": (1, 2)}
    )
    longer = dataclasses.replace(CONFIG, steps=9)
    _, _, lines = run_loop(
        longer,
        tmp_path,
        (0.5,),
        score_identity={"penalty": float("inf"), "n": (1, 2)},
    )
    assert not any("anew" in line for line in lines)
