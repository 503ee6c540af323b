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


def test_it_is_said_whether_collapse_shows(program):
    def row(**spreads):
        # Of max/mean load this test wants nothing but a number.
        return {
            "layers": {
                name: {"spread": spread, "max_over_mean_load": 2 - spread}
                for name, spread in spreads.items()
            }
        }

    rows = {
        "0, 0": row(a=0.2, b=0.7, c=0.69),
        "0.2, 0": row(a=0.0, b=0.0, c=0.0),  # one loss: not looked at
        "0, 0.2": row(a=0.0, b=0.0, c=0.0),
        "0.1, 0.1": row(a=0.8, b=0.4, c=1.0),
        "0.01, 0.01": row(a=0.7, b=1.0, c=0.69),
        "1, 1": row(a=1.0, b=1.0, c=1.0),
    }
    said = program.collapse_lines(rows)
    # The threshold is 0.7; a falls below without losses, b does not, c falls
    # below with both as well.
    assert said[0] == (
        "a: COLLAPSE without losses, none with both (spread below 0.7)."
    )
    assert said[1] == (
        "  spread of load 0.200 without losses, 0.700 to 1.000 with both "
        "(0.25 times the median)"  # 0.2 / 0.8
    )
    assert said[2] == (
        "  max/mean load 1.800 without losses, 1.000 to 1.300 with both "
        "(1.50 times the median)"  # 1.8 / 1.2
    )
    assert said[3].startswith("b: no collapse without losses (")
    assert said[6].startswith("c: collapse without losses, and with both as ")


def test_layers_without_any_spread_are_compared_as_well(program):
    """As before training, when inference has the same experts for all."""

    def row(spread):
        layer = {"spread": spread, "max_over_mean_load": 8.0}
        return {"layers": {"x": layer}}

    names = ("0.1, 0.1", "0.01, 0.01", "1, 1")
    rows = {name: row(0.0) for name in names}
    for without, times in ((0.0, "1.00"), (0.5, "inf")):
        said = program.collapse_lines({**rows, "0, 0": row(without)})
        assert f"({times} times the median)" in said[1]


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
    printed = capsys.readouterr().out
    assert "a step of noisy_top_k" in printed
    assert printed.count("times the median") == 4  # two for each layer
