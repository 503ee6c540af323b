"""From what flags say to workers that are started."""

import json
import types

import pytest

from trainers.engine import worker_options
from trainers.engine.worker_options import WorkerOptions


@pytest.fixture
def started(monkeypatch):
    """Arguments of `start_workers`, by name, for each start."""
    calls = []
    names = ("strategy", "devices", "cluster", "layout", "about", "mesh_shape")

    def start(*arguments):
        calls.append(dict(zip(names, arguments, strict=True)))

    monkeypatch.setattr(worker_options, "start_workers", start)
    return calls


def test_flags_become_options_and_others_are_passed_over():
    flags = types.SimpleNamespace(
        strategy="mirrored",
        devices="2",
        cluster=None,
        index=None,
        layout="experts:replica",
        mesh_shape=None,
        preset="small",
    )
    expected = WorkerOptions("mirrored", "2", layout="experts:replica")
    assert WorkerOptions.of_flags(flags) == expected


def test_by_default_there_is_one(started):
    WorkerOptions().start({"depth": 4})
    assert started == [
        {
            "strategy": "none",
            "devices": None,
            "cluster": None,
            "layout": None,
            "about": {"depth": 4},
            "mesh_shape": None,
        }
    ]


def test_program_with_a_mesh_is_the_first_of_its_cluster(started):
    WorkerOptions(cluster="a:1,b:1", mesh_shape="all:1").start()
    WorkerOptions("multi_worker", cluster="a:1,b:1", index=1).start()
    assert [call["cluster"].index for call in started] == [0, 1]


def test_cluster_of_several_workers_comes_from_the_environment(
    started, monkeypatch
):
    cluster = {"worker": ["a:1", "b:1"]}
    task = {"type": "worker", "index": 1}
    text = json.dumps({"cluster": cluster, "task": task})
    monkeypatch.setenv("TF_CONFIG", text)
    WorkerOptions("multi_worker").start()
    WorkerOptions().start()
    first, second = (call["cluster"] for call in started)
    assert first.index == 1 and second is None
