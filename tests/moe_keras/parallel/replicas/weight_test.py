"""Weights of experts that replicas have in parts, seen from outside of them."""

import numpy as np
import pytest

from moe_keras import FeedForwardExperts
from moe_keras.parallel.replicas import saving
from moe_keras.parallel.replicas.placement import ReplicaPlacement
from moe_keras.parallel.replicas.saving import gather_pieces, gather_whole
from moe_keras.placement.replicas import sum_over_replicas
from moe_keras.placement.shards import whole_variables


@pytest.fixture
def kernel(two_replicas):
    """`(4, 3, 5)`, of which each replica has two experts."""
    with two_replicas.scope(), ReplicaPlacement(two_replicas).scope():
        experts = FeedForwardExperts(4, hidden_dim=5)
        experts.build((4, None, 3))
    return experts.kernel_in


def test_whole_is_gathered_part_by_part_by_a_graph_made_once(
    kernel, monkeypatch
):
    """No device has more than two of the four experts at once."""
    traced = []

    def recording(values):
        traced.append(values.shape)
        return sum_over_replicas(values)

    monkeypatch.setattr(saving, "sum_over_replicas", recording)
    for save in range(3):
        value = np.arange(60.0).reshape(4, 3, 5) + save
        kernel.assign(value)
        np.testing.assert_array_equal(gather_whole(kernel.variable), value)
        assert traced == [(2, 3, 5)] * 2  # once in the graph of each replica


def test_who_only_helps_keeps_nothing(kernel, two_replicas):
    (whole,) = whole_variables([kernel.variable])
    gather_pieces([whole], keeps=False)
    assert whole.pieces_elsewhere == {}
    assert gather_whole(kernel.variable, keeps=False) is None
    gather_pieces([whole], keeps=True)
    for first, (place, piece) in zip(
        (0, 2), whole.pieces_elsewhere.items(), strict=True
    ):
        assert place == f"4 3 5 {first},2:0,3:0,5"
        np.testing.assert_array_equal(piece, kernel.numpy()[first : first + 2])
        assert piece.device.endswith("CPU:0")
