"""Weights of experts that replicas have in parts, seen from outside of them."""

import numpy as np
import pytest

from moe_keras import FeedForwardExperts
from moe_keras.parallel import replica_weight
from moe_keras.parallel.replica_placement import ReplicaPlacement
from moe_keras.parallel.replica_weight import gather_whole
from moe_keras.replicas import gather_over_replicas


@pytest.fixture
def kernel(two_replicas):
    """`(4, 3, 5)`, of which each replica has two experts."""
    with two_replicas.scope(), ReplicaPlacement(two_replicas).scope():
        experts = FeedForwardExperts(4, hidden_dim=5)
        experts.build((4, None, 3))
    return experts.kernel_in


def test_whole_is_gathered_as_it_is_now_by_a_graph_made_once(
    kernel, monkeypatch
):
    traced = []

    def recording(values):
        traced.append(values.shape)
        return gather_over_replicas(values)

    monkeypatch.setattr(replica_weight, "gather_over_replicas", recording)
    for save in range(3):
        value = np.arange(60.0).reshape(4, 3, 5) + save
        kernel.assign(value)
        np.testing.assert_array_equal(gather_whole(kernel.variable), value)
        assert traced == [(2, 3, 5)] * 2  # once in the graph of each replica
