"""Training runs under layouts, against one on a single device.

There are noise and dropout, which do not depend on the layout. Tolerance:
1e-5, because sums in another order differ in float32.
"""

import keras
import pytest
import small_workers
from model_folders import small_config
from small_workers import largest_difference, train

from moe_keras import SparseMoE
from moe_keras.parallel import MeshLayout
from moe_keras.parallel.processes.strategies import start_workers
from moe_keras.parallel.processes.workers import Workers
from moe_keras.parallel.replicas.placement import ReplicaPlacement
from moe_keras.parallel.replicas.weight import copies_of
from trainers.engine import run as engine_run
from trainers.engine.config.overrides import with_overrides
from trainers.engine.loop import Loop
from trainers.engine.worker_options import WorkerOptions
from trainers.translator import task as translation_task
from translation.serving.export import load_translator

STEPS = 7  # the average is never young twice: see `MovingAverage`


def on_mesh(shape, rules):
    return Workers(placement=MeshLayout(shape, rules))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    train(folder, STEPS, is_random=True, log=print)
    return folder


@pytest.mark.slow
def test_checkpoints_know_no_layout(undisturbed, tmp_path):
    exchange = "batch:all;experts:all"
    train(tmp_path, 3, on_mesh("all:4", exchange), is_random=True)
    train(tmp_path, 5, is_random=True)
    loop = train(tmp_path, STEPS, on_mesh("all:2", exchange), is_random=True)
    difference, number = largest_difference(undisturbed, tmp_path)
    assert difference < 1e-5 and number > 30
    # Moments and averages live beside their shards, of two experts each.
    moments = [variable.value for variable in loop.optimizer.variables]
    for variables in (moments, loop.average.averages):
        there = [v for v in variables if v.device.endswith("CPU:1")]
        assert len(there) >= 4
        assert {variable.shape[0] for variable in there} == {2}


@pytest.mark.slow
def test_from_replicas_to_a_mesh_to_one_device(
    two_replicas, tmp_path, monkeypatch
):
    """Without noise and dropout, of which replicas draw their own."""
    monkeypatch.setattr(keras.random, "normal", small_workers.no_noise)
    parts = ReplicaPlacement(two_replicas)
    lines = []
    train(tmp_path / "all", 3, Workers(two_replicas, placement=parts))
    mesh = on_mesh("all:4", "batch:all;experts:all")
    train(tmp_path / "all", 5, mesh, log=lines.append)
    train(tmp_path / "all", STEPS, log=lines.append)
    assert {"Resuming after step 3.", "Resuming after step 5."} <= {*lines}
    train(tmp_path / "one", STEPS)
    difference, number = largest_difference(tmp_path / "one", tmp_path / "all")
    assert difference < 1e-5 and number > 30


HOW = {
    "mesh": {"mesh_shape": "all:2", "layout": "batch:all;experts:all"},
    "replicas": {"strategy": "mirrored"},
    "parts": {"strategy": "mirrored", "layout": "experts:replica"},
}


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_a_translator_of_two_devices_is_served_like_any_other(
    how, tmp_path, monkeypatch
):
    """Trained, evaluated, exported: as on one device."""
    lines = {
        "en": "one dog\ntwo dogs\none cat\ntwo cats\n",
        "fr": "un chien\ndeux chiens\nun chat\ndeux chats\n",
    }
    for language, text in lines.items():
        (tmp_path / f"text.{language}").write_text(text)
    fields = ["steps=4", "evaluate_every=2", "save_every=2", "warmup_steps=1"]
    fields += [f"{s}={tmp_path / 'text'}" for s in ("train", "dev", "test")]
    fields += ["tokens_per_batch=64", "static_shapes=False", "pair=en-fr"]
    if "strategy" in how:  # replicas draw numbers of their own
        monkeypatch.setattr(keras.random, "normal", small_workers.no_noise)
        fields.append("dropout=0.0")
    config = with_overrides(small_config(300), fields)
    loops = []

    def keep_loop(*arguments):
        loops.append(Loop(*arguments))
        return loops[-1]

    monkeypatch.setattr(engine_run, "Loop", keep_loop)
    on_two = WorkerOptions(devices="2", **how)
    results, served = [], []
    for name, options in (("two", on_two), ("one", WorkerOptions())):
        results.append(
            translation_task.train_and_evaluate(
                config, tmp_path / name, lambda line: None, options
            )
        )
        served.append(load_translator(tmp_path / name / "export/1"))
    moments = loops[0].optimizer.variables
    devices = {copy.device[-1] for v in moments for copy in copies_of(v)}
    assert devices == {"0", "1"}
    difference, number = largest_difference(tmp_path / "two", tmp_path / "one")
    assert difference < 1e-5 and number > 100
    assert results[0]["bleu"] == results[1]["bleu"]
    served.append(load_translator(translation_task.export(tmp_path / "two")))
    of_two, of_one, exported_again = (
        each(lines["en"].splitlines()) for each in served
    )
    assert of_two == exported_again
    for ours, theirs in zip(of_two, of_one, strict=True):
        assert ours.text == theirs.text
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)


def test_workers_on_a_mesh():
    workers = start_workers(
        devices="2", layout="experts:all", mesh_shape="all:2"
    )
    with workers.scope():
        layer = SparseMoE(4, k=2, hidden_dim=3)
        layer.build((None, 2))
    assert [v.shape for v in layer.experts.kernel_in.shards] == [(2, 2, 3)] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"mesh_shape": "all:2"},
        {
            "mesh_shape": "all:2",
            "layout": "experts:all",
            "strategy": "mirrored",
        },
        {"layout": "experts:all"},
    ],
)
def test_flags_that_do_not_fit(wrong):
    with pytest.raises(ValueError, match="mesh_shape"):
        start_workers(**wrong)
