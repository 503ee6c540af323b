"""Experts of a user's own on replicas and on a mesh: right, or refused."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from own_experts import (
    REFUSED_WHEN_BUILT,
    REFUSED_WHEN_CALLED,
    BehindClosure,
    Linear,
)

from moe_keras import SparseMoE, TopKGate
from moe_keras.parallel import MeshLayout
from moe_keras.parallel.replicas.placement import ReplicaPlacement

E, D = 4, 3
X = np.random.default_rng(0).normal(size=(8, D)).astype("float32")


def layer_of(make_experts, scopes=()):
    keras.utils.set_random_seed(1)
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(scope)
        layer = SparseMoE(E, gate=TopKGate(E, k=2), expert=make_experts(E))
        layer.build((None, D))
    return layer


def on_replicas(strategy):
    return [strategy.scope(), ReplicaPlacement(strategy).scope()]


def on_mesh(rules="batch:all;experts:all"):
    return [MeshLayout("all:2", rules, ["CPU:0", "CPU:1"]).scope()]


def replicas_outputs(layer, strategy):
    def of_replica():
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        return layer(tf.gather(tf.reshape(X, (2, 4, D)), index))

    outputs = tf.function(lambda: strategy.run(of_replica), autograph=False)()
    return np.concatenate(strategy.experimental_local_results(outputs))


@pytest.mark.parametrize("make_experts", [Linear, BehindClosure])
def test_weights_go_by_names_wherever_they_are_kept(make_experts, two_replicas):
    expected = layer_of(make_experts)(X)
    split = layer_of(make_experts, on_replicas(two_replicas))
    np.testing.assert_allclose(
        replicas_outputs(split, two_replicas), expected, rtol=1e-5, atol=1e-6
    )
    for rules in ("batch:all;experts:all", "experts:all", "batch:all"):
        split = layer_of(make_experts, on_mesh(rules))
        np.testing.assert_allclose(split(X), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make_experts", REFUSED_WHEN_BUILT)
def test_experts_that_could_not_run_in_parts_are_refused(
    make_experts, two_replicas
):
    message = REFUSED_WHEN_BUILT[make_experts]
    layer_of(make_experts)(X)  # on one device nothing is wrong
    with pytest.raises(ValueError, match=message):
        layer_of(make_experts, on_replicas(two_replicas))
    with pytest.raises(ValueError, match=message):
        layer_of(make_experts, on_mesh())


@pytest.mark.parametrize("make_experts", REFUSED_WHEN_CALLED)
def test_experts_that_read_other_weights_are_refused(
    make_experts, two_replicas
):
    message = REFUSED_WHEN_CALLED[make_experts]
    layer_of(make_experts)(X)
    layer = layer_of(make_experts, on_replicas(two_replicas))
    with pytest.raises((ValueError, TypeError), match=message):
        replicas_outputs(layer, two_replicas)
    with pytest.raises((ValueError, TypeError), match=message):
        layer_of(make_experts, on_mesh())(X)
