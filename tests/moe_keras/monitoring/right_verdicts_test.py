"""Verdicts on small real runs; benchmarks/verdicts.py has more of them."""

import importlib.util
import pathlib

import pytest

import moe_keras

ROOT = pathlib.Path(moe_keras.__file__).parents[1]


@pytest.fixture(scope="module")
def benchmark():
    path = ROOT / "benchmarks/verdicts.py"
    spec = importlib.util.spec_from_file_location("verdicts_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _results(benchmark, kind, seeds, steps):
    experiment = benchmark.Experiment(**benchmark.KINDS[kind])
    return [benchmark.summarise(experiment.run(seed, steps)) for seed in seeds]


def test_provoked_collapse_is_called_before_half_of_it(benchmark):
    for result in _results(benchmark, "collapse", (1, 2), steps=120):
        assert result["final_max_over_mean"] > 5  # of 8: it did collapse
        assert result["called_at"] < 0.5


@pytest.mark.slow
def test_healthy_runs_raise_no_alarm(benchmark):
    for result in _results(benchmark, "healthy", (1, 2, 3), steps=100):
        assert result["first_alarm"] is None
        assert result["final_max_over_mean"] < 2
