"""Layouts of a small model: what they hold and send, and which is best."""

import subprocess

import pytest

from moe_keras.parallel.processes.strategies import start_workers
from moe_keras.parallel.replicas.placement import ReplicaPlacement
from moe_keras.placement.placement import current_placement
from moe_keras.plan import (
    PRESETS,
    MoE,
    Training,
    devices_needed,
    layouts,
    memory,
    plan,
    traffic,
)
from moe_keras.plan.model import LayerCost, Model
from moe_keras.plan.presets import language_model


def _language_model(experts=8, hidden=12):
    return language_model(
        "", experts, depth=6, units=6, hidden=hidden, vocabulary=50, tokens=240
    )


def test_shares_of_all_devices_add_up_to_the_model():
    model = _language_model()
    for devices in (2, 4, 6):
        for layout in layouts(model, devices):
            first = memory(model, layout, Training())
            other = memory(model, layout, Training(), device=1)
            held = first.expert_weights + (devices - 1) * other.expert_weights
            assert held == 4 * layout.copies * model.expert_parameters
            dense = first.other_weights + (devices - 1) * other.other_weights
            copies = devices if layout.is_mirrored else 1
            assert dense == 4 * copies * model.mirrored_parameters


def test_exchange_is_what_a_walk_over_tokens_and_experts_counts():
    model, devices = _language_model(), 4
    layout = next(x for x in layouts(model, devices) if "shared" in x.name)
    (layer,) = model.moe
    # Balanced: token n is on device n % 4, and its four of eight experts,
    # two on each device, turn round with n.
    crossed = 0
    for token in range(model.tokens):
        for choice in range(layer.k):
            expert = (token + token // 8 + 2 * choice) % layer.num_experts
            if expert // 2 != token % devices:
                crossed += 2 * layer.depth  # there and back
    counted = traffic(model, layout, Training())
    assert counted.exchange == 2 * 4 * crossed  # backward as well, 4 bytes
    halved = traffic(model, layout, Training(precision="mixed_bfloat16"))
    assert 2 * halved.exchange == counted.exchange


def test_exchange_of_two_dimensions_is_what_a_walk_over_the_mesh_counts():
    model = _language_model()
    layout = next(x for x in layouts(model, 4) if "and experts 2 x" in x.name)
    (layer,) = model.moe
    # Device (row, column) has a half of the tokens and of the experts, those
    # of the row, and half of the hidden layer of each, that of the column.
    crossed = 0
    for token in range(model.tokens):
        for column in range(2):
            row = token % 2
            crossed += (row, column) != (0, 0)  # all begin on the first device
            for choice in range(layer.k):
                expert = (token + token // 8 + 2 * choice) % layer.num_experts
                crossed += expert // 4 != row
    assert layout.exchanges and layout.copies == 1
    counted = traffic(model, layout, Training()).exchange
    # There and back, forward and backward, 4 bytes.
    assert counted == 4 * 4 * layer.depth * crossed


@pytest.mark.parametrize("k", [2, 4, 8])
@pytest.mark.parametrize(
    "name",
    [
        "mesh, experts",
        "mesh, batch 2 x experts 2",
        "mesh, experts 2 x hidden 2",
    ],
)
def test_a_token_crosses_once_to_each_device_with_experts_of_it(name, k):
    model = Model(
        "", LayerCost(), (MoE(6, 12, num_experts=8, k=k),), tokens=240
    )
    layout = next(x for x in layouts(model, 4) if x.name == name)
    crossed = 0
    for token in range(240):
        half = token * layout.batch // 240
        asked = {(token + choice * 8 // k) % 8 for choice in range(k)}
        for part in {expert * layout.experts // 8 for expert in asked}:
            for hidden in range(layout.hidden):  # all begin on the first
                crossed += (half, part, hidden) != (0, 0, 0)
    counted = traffic(model, layout, Training()).exchange
    # There and back, forward and backward, 4 bytes.
    assert counted == 4 * 4 * 6 * crossed


def test_compute_for_each_byte_grows_with_the_hidden_size_alone():
    def per_byte(depth=8, hidden=16, k=2, tokens=64):
        layer = MoE(depth, hidden, num_experts=8, k=k)
        model = Model("", LayerCost(), (layer,), tokens)
        shared = layouts(model, 4)[1]
        return traffic(model, shared, Training()).ops_per_byte

    # Forward and backward 3 * K N 2 D H over 4 * K N D * 3/4 * 4 bytes.
    assert per_byte() == 3 * 2 * 16 / (4 * 3 / 4 * 4)
    assert per_byte(hidden=32) == 2 * per_byte()
    assert per_byte(depth=32, k=4, tokens=128) == per_byte()


def test_layouts_divide_what_they_split():
    model = _language_model(experts=6, hidden=8)
    found = {
        (x.batch, x.experts, x.hidden)
        for x in layouts(model, 4)
        if not x.is_mirrored
    }
    # Six experts in two parts, not in four; eight hidden units in 2 or 4.
    assert found == {
        (4, 1, 1),
        (1, 1, 4),
        (2, 2, 1),
        (1, 2, 2),
        (2, 2, 2),
    }


@pytest.mark.parametrize(
    "layout", layouts(_language_model(), 4), ids=lambda layout: layout.name
)
def test_advice_survives_a_shell_and_starts_the_layout(layout):
    command = ["sh", "-c", f"printf '%s\\n' {layout.flags}"]
    lines = subprocess.check_output(command, text=True).splitlines()
    workers = start_workers(
        **dict(line.removeprefix("--").split("=", 1) for line in lines)
    )
    with workers.scope():
        placement = current_placement()
    if layout.is_mirrored:
        assert workers.strategy.num_replicas_in_sync == 4
        assert isinstance(placement, ReplicaPlacement) == layout.exchanges
        return
    parts = {"batch": layout.batch, "experts": layout.experts}
    assert placement.parts == {**parts, "hidden": layout.hidden}
    assert placement.exchanges == layout.exchanges


def test_fewest_devices_that_fit_are_found_and_the_next_fewer_do_not():
    model = PRESETS["moe_131072_h"]
    training = Training(optimizer="factored_adam")
    needed = devices_needed(model, training, 12 * 10**9)
    assert plan(model, needed, training, 12 * 10**9).best
    assert not plan(model, needed // 2, training, 12 * 10**9).best
    # Appendix D is what makes it possible: with Adam it takes more of them.
    assert devices_needed(model, Training(), 12 * 10**9) > needed


def test_best_layout_shares_the_work_and_then_sends_little():
    few, many = _language_model(experts=4), _language_model(experts=4000)
    assert plan(few, 4, Training(tokens=10**6)).best.layout.name == "replicas"
    assert "shared out" in plan(many, 4, Training(tokens=10)).best.layout.name
    rows = plan(many, 4, Training(tokens=10), 4 * 10**6).rows
    fits = [row.fits for row in rows]
    assert {*fits} == {True, False} and fits == sorted(fits, reverse=True)
