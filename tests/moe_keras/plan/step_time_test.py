"""Seconds of a training step, worked by hand, and beside the paper's."""

import pytest

from moe_keras.plan import (
    PRESETS,
    MoE,
    Speed,
    Training,
    layouts,
    memory,
    plan,
    step_time,
    traffic,
)
from moe_keras.plan.model import LayerCost, Model

# 10 layers' worth of multiply-adds beside a mixture of 4 experts of 2 * 8 * 16.
MODEL = Model(
    "small", LayerCost(100, 100, 10), (MoE(8, 16, 4, k=2, recompute=True),), 60
)


def _time(layout, speed):
    training = Training()
    return step_time(
        MODEL,
        layout,
        training,
        memory(MODEL, layout, training),
        traffic(MODEL, layout, training),
        speed,
    )


def test_parts_worked_by_hand():
    [shared] = [x for x in layouts(MODEL, 2) if "shared out" in x.name]
    time = _time(shared, Speed(1e-9, 1e-6, 1e-6))  # 1000 a second of each
    # A device has 30 tokens, each with 100 of dense layers, gate and noise
    # 2 * 8 * 4, two experts of 256; forward and twice that backward, and half
    # of each expert once more.
    ops = 30 * (3 * (100 + 64 + 512) + 256)
    assert time.products == pytest.approx(2 * ops / 1000)
    # Half of the 2 experts are elsewhere: 8 numbers there and back, forward
    # and backward.
    assert time.exchange == pytest.approx(30 * 1 * 8 * 4 * 4 / 1000)
    # Gradients of the dense layers and the gate, 2 (R - 1) / R of 164 numbers.
    assert time.reduce == pytest.approx(164 * 4 / 1000)
    # 164 and half of 4 * 256 weights, six times; two moments, twice.
    assert time.weights == pytest.approx((6 + 4) * (164 + 512) * 4 / 1000)
    useful = 6 * 30 * (100 + 64 + 512)
    assert time.teraflops == pytest.approx(useful / 1e12 / time.total)


def test_first_device_of_a_mesh_sends_all_tokens():
    [experts] = [x for x in layouts(MODEL, 2) if x.name == "mesh, experts"]
    time = _time(experts, Speed(1e-9, 1e-6, 1e-6))
    # 60 tokens to the other device, which sends as much back.
    assert time.exchange == pytest.approx(60 * 1 * 8 * 4 * 2 / 1000)
    assert time.products == pytest.approx(
        2 * (3 * (60 * 164 + 30 * 512) + 30 * 256) / 1000
    )


def test_fall_of_the_papers_efficiency_is_that_of_the_sums():
    """Table 8, with what a K40 and its network may have done.

    From 32 to 64 and 128 devices the batch stays the same: products and
    exchange of a device fall by half, the sums of gradients do not.
    """
    speed = Speed(teraflops=1.6, network_gb=1.25, memory_gb=200)
    times = []
    for name, paper in (
        ("moe_16384_h", 0.96),
        ("moe_65536_h", 0.72),
        ("moe_131072_h", 0.30),
    ):
        model = PRESETS[name]
        training = Training(optimizer="factored_adam")
        rows = plan(model, model.devices, training, speed=speed).rows
        [time] = [x.time for x in rows if "shared out" in x.layout.name]
        times.append(time)
        assert time.teraflops == pytest.approx(paper, abs=0.21)
    fractions = [time.reduce / time.total for time in times]
    assert fractions[0] < 0.12 and 0.2 < fractions[1] < 0.3
    assert fractions[2] > 0.45


@pytest.mark.parametrize("field", ["teraflops", "network_gb", "memory_gb"])
def test_speed_must_be_above_zero(field):
    speed = {"teraflops": 1, "network_gb": 1, "memory_gb": 1, field: 0}
    with pytest.raises(ValueError, match=f"`{field}` must be above 0"):
        Speed(**speed)
