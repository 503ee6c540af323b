"""Training runs under layouts, against one on a single device.

There are noise and dropout, which do not depend on the layout. Tolerance:
1e-5, because sums in another order differ in float32.
"""

import pytest
from small_workers import largest_difference, train

from moe_keras import SparseMoE
from moe_keras.parallel import MeshLayout
from moe_keras.parallel.strategies import start_workers
from moe_keras.parallel.workers import Workers

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
