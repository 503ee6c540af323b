"""The table of the gates, of a model that hardly trains."""

import importlib.util
import json
import pathlib
import sys

import pytest

import moe_keras

BENCHMARKS = pathlib.Path(moe_keras.__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def program():
    path = BENCHMARKS / "gates_table.py"
    spec = importlib.util.spec_from_file_location("gates_table", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BENCHMARKS))  # as for a program started there
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


def test_layers_of_a_row_are_divided_by_a_slash(program):
    layer = {
        "cv_importance": 0.25,
        "cv_load": 0.5,
        "max_over_mean_load": 2.0,
        "mean_k": 2.0,
        "verdict": "healthy",
    }
    other = {**layer, "cv_load": 0.125, "verdict": "collapsed"}
    row = {"perplexity": 9.876, "layers": {"x": layer, "y": other}}
    line = program.line("a", row)
    assert line == (
        "| a | 9.88 | 0.250 / 0.250 | 0.500 / 0.125 | 2.00 / 2.00 "
        "| 2.00 / 2.00 | healthy / collapsed |"
    )
    heads, rule = program.head("gate").splitlines()
    assert heads.count("|") == rule.count("|") == line.count("|")


@pytest.mark.slow
def test_both_tables_are_made(program, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        program, "GATES", {name: () for name in ("noisy_top_k", "batchwise")}
    )
    monkeypatch.setattr(program, "LOSS_WEIGHTS", ((0.0, 0.0), (0.1, 0.1)))
    for name in ("gates", "losses"):
        path = tmp_path / f"{name}.json"
        program.main(
            [
                name,
                "--train=phrasebook:60",
                "--dev=phrasebook:10",
                "--steps=2",
                "--rounds=2",
                "--set=vocab_size=320",
                "--set=tokens_per_batch=64",
                f"--json={path}",
            ]
        )
        rows = json.loads(path.read_text())["rows"].values()
        assert len(rows) == 2
        assert all(len(row["layers"]) == 2 for row in rows)
        assert all(1 < row["perplexity"] < 1000 for row in rows)
    assert "a step of noisy_top_k" in capsys.readouterr().out
