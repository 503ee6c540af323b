"""Planned memory against what real layers and optimizers hold."""

import keras
import numpy as np
import pytest
from four_devices import bytes_by_device

import moe_keras
from moe_keras.parallel import MeshLayout
from moe_keras.parallel.replicas.placement import ReplicaPlacement
from moe_keras.placement.placement import Placement
from moe_keras.plan import (
    MoE,
    Training,
    layouts,
    memory,
)
from moe_keras.plan.model import LayerCost, Model

KINDS = {
    "adam": keras.optimizers.Adam,
    "factored_adam": moe_keras.FactoredAdam,
}


@pytest.mark.parametrize("optimizer", ["adam", "factored_adam"])
@pytest.mark.parametrize("gate", ["noisy_top_k", "hierarchical"])
def test_memory_of_a_device_is_what_a_real_layer_holds(optimizer, gate):
    sizes = MoE(4, 7, 6, k=2, gate=gate, groups=3, bias=True)
    layer = moe_keras.SparseMoE(
        6,
        hidden_dim=7,
        gate=moe_keras.HierarchicalGate(3, 2, k=(2, 1))
        if gate == "hierarchical"
        else moe_keras.NoisyTopKGate(6, k=2),
    )
    layer.build((None, 4))
    real = KINDS[optimizer]()
    real.build(layer.trainable_variables)
    model = Model("", LayerCost(), (sizes,), tokens=10)
    (alone,) = layouts(model, 1)
    held = memory(model, alone, Training(optimizer=optimizer, average=True))
    weights = 4 * sum(int(np.prod(v.shape)) for v in layer.trainable_variables)
    assert held.expert_weights + held.other_weights == weights
    assert held.gradients == held.average == weights
    # Without the learning rate and the number of steps.
    state = sum(int(np.prod(v.shape)) for v in real.variables[2:])
    assert held.optimizer == 4 * state


@pytest.mark.parametrize("optimizer", ["adam", "factored_adam"])
@pytest.mark.parametrize(
    "shape, rules, name",
    [
        ("all:4", "batch:all;experts:all", "mesh, batch and experts"),
        ("all:4", "experts:all", "mesh, experts"),
        ("all:4", "hidden:all", "mesh, hidden"),
        (
            "data:2;model:2",
            "batch:data;experts:data;hidden:model",
            "mesh, batch and experts 2 x hidden 2",
        ),
        (
            "data:2;model:2",
            "batch:data;experts:model",
            "mesh, batch 2 x experts 2",
        ),
        (
            "model:2;inner:2",
            "experts:model;hidden:inner",
            "mesh, experts 2 x hidden 2",
        ),
    ],
)
def test_memory_of_four_devices_is_what_they_hold(
    shape, rules, name, optimizer
):
    sizes = MoE(24, 32, 12, k=2, bias=True)
    with MeshLayout(shape, rules).scope():
        layer = moe_keras.SparseMoE(12, k=2, hidden_dim=32)
        layer.build((None, 24))
    model = Model("", LayerCost(), (sizes,), tokens=10)
    (layout,) = (x for x in layouts(model, 4) if x.name == name)
    if optimizer == "factored_adam" and layout.hidden > 1:
        pytest.skip("refused")
    real = KINDS[optimizer]()
    real.build(layer.trainable_variables)
    _assert_held_as_planned(
        layer, real, model, layout, optimizer, borrows=layout.copies > 1
    )


@pytest.mark.parametrize("optimizer", ["adam", "factored_adam"])
@pytest.mark.parametrize("name", ["replicas", "replicas, experts shared out"])
def test_memory_of_four_replicas_is_what_they_hold(
    name, optimizer, four_replicas
):
    sizes = MoE(24, 32, 12, k=2, bias=True)
    model = Model("", LayerCost(), (sizes,), tokens=10)
    (layout,) = (x for x in layouts(model, 4) if x.name == name)
    placement = Placement()
    if layout.exchanges:
        placement = ReplicaPlacement(four_replicas)
    with four_replicas.scope(), placement.scope():
        layer = moe_keras.SparseMoE(12, k=2, hidden_dim=32)
        layer.build((None, 24))
        real = KINDS[optimizer]()
        real.build(layer.trainable_variables)
    _assert_held_as_planned(layer, real, model, layout, optimizer)


def _assert_held_as_planned(
    layer, real, model, layout, optimizer, borrows=False
):
    """Weights and optimizer state of each of four devices, within 10 %.

    With `borrows` a device may read another's weights, and have none.
    """
    weights = bytes_by_device(layer.trainable_variables)
    state = bytes_by_device(real.variables[2:])
    for device in range(4):
        held = memory(model, layout, Training(optimizer=optimizer), device)
        planned = held.expert_weights + held.other_weights
        if borrows and not weights[device]:
            continue
        assert weights[device] == pytest.approx(planned, rel=0.1)
        assert state[device] == pytest.approx(held.optimizer, rel=0.1)
