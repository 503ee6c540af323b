"""A training step of one `SparseMoE` under each layout, to be measured.

Forward, backward and Adam. A mesh has the batch on its first device, replicas
have their shares of it.

N: tokens    D: depth    H: hidden size    E: experts    K: experts per token
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf
from crossing import halfway

import moe_keras
from moe_keras.parallel import MeshLayout
from moe_keras.parallel.replicas.placement import ReplicaPlacement
from moe_keras.parallel.replicas.weight import is_split
from moe_keras.placement.replicas import sum_over_replicas
from trainers.engine.optimizer import FusedAdam, apply_on_replica

DEVICES = 4
SIZES = {"N": 1024, "D": 64, "H": 128, "E": 16, "K": 2}

# Name in the planner, mesh shape and layout rules.
MESHES = (
    ("mesh, batch and experts", "all:4", "batch:all;experts:all"),
    ("mesh, experts", "all:4", "experts:all"),
    ("mesh, hidden", "all:4", "hidden:all"),
    ("mesh, batch", "all:4", "batch:all"),
    (
        "mesh, batch and experts 2 x hidden 2",
        "data:2;model:2",
        "batch:data;experts:data;hidden:model",
    ),
    ("mesh, batch 2 x experts 2", "data:2;model:2", "batch:data;experts:model"),
    (
        "mesh, experts 2 x hidden 2",
        "model:2;inner:2",
        "experts:model;hidden:inner",
    ),
)
ONE, REPLICAS = "one device", "replicas, experts shared out"


class BalancedGate(keras.layers.Layer):
    """Each part of a batch asks each expert equally often.

    Token n has the experts `n + j E / K`, weighed by a softmax over their
    logits; only the choice is fixed.
    """

    def __init__(self, num_experts, k):
        super().__init__()
        self.num_experts, self.k = num_experts, k

    def build(self, input_shape):
        self.gate_kernel = self.add_weight(
            name="gate_kernel", shape=(input_shape[-1], self.num_experts)
        )

    def call(self, inputs, mask=None, training=False):
        token_N1 = tf.range(tf.shape(inputs)[0])[:, None]
        step_1K = tf.range(self.k)[None] * (self.num_experts // self.k)
        expert_NK = (token_N1 + step_1K) % self.num_experts
        logits_NE = tf.matmul(inputs, self.gate_kernel)
        gate_NK = tf.nn.softmax(tf.gather(logits_NE, expert_NK, batch_dims=1))

        def by_expert(values_NK):
            return tf.math.unsorted_segment_sum(
                values_NK, expert_NK, self.num_experts
            )

        return moe_keras.Routing(
            expert_index=expert_NK,
            gate=gate_NK,
            importance=by_expert(gate_NK),
            load=by_expert(tf.ones_like(gate_NK)),
            loss=tf.zeros(()),
            metrics={},
        )


def make_layer(gate, sizes):
    """A built layer, of the placement in force."""
    experts, k = sizes["E"], sizes["K"]
    kinds = {
        "balanced": lambda: BalancedGate(experts, k),
        "noisy": lambda: moe_keras.NoisyTopKGate(experts, k, seed=0),
    }
    layer = moe_keras.SparseMoE(
        experts, hidden_dim=sizes["H"], gate=kinds[gate]()
    )
    layer.build((None, sizes["D"]))
    return layer


def batch(sizes):
    """Input `(N, D)`, and the gradient of the output `(N, D)`."""
    shape = sizes["N"], sizes["D"]
    return [tf.random.stateless_normal(shape, [1, n]) for n in (2, 3)]


class Case(NamedTuple):
    """A layer, Adam for it, and the step to be measured.

    The step has no arguments. It returns numbers, so that of what it computes
    nothing leaves its device to be looked at.
    """

    layer: keras.layers.Layer
    adam: keras.optimizers.Optimizer
    step: Callable


def gradients_of(layer, x, d_y):
    """Forward and backward: numbers that need the output and the gradient of
    the input, and the gradients of all weights.
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        auxiliary = sum(layer.losses)
    # Of replicas, none goes back before the others have what it sent them.
    all_are_there = sum_over_replicas(tf.reduce_sum(tf.stop_gradient(y)))
    d_y = halfway(d_y, [y, auxiliary, all_are_there])
    d_x, *gradients = tape.gradient(
        [y, auxiliary],
        [x, *layer.trainable_variables],
        [d_y, tf.ones(())],
    )
    with tf.control_dependencies([d_y]):  # until then the output is kept
        total = tf.reduce_sum(y)
    return (total, tf.reduce_sum(d_x)), gradients


def case_of(layer, sizes):
    """The step of a layer that is whole on one device, or under a layout."""
    adam = FusedAdam()
    adam.build(layer.trainable_variables)
    # Constants would be computed with while the graph is made.
    x, d_y = map(tf.Variable, batch(sizes))

    @tf.function(autograph=False)
    def step():
        numbers, gradients = gradients_of(layer, tf.identity(x), d_y)
        apply_on_replica(adam, gradients, layer.trainable_variables)
        return numbers

    return Case(layer, adam, step)


def on_mesh(gate, sizes, mesh_shape, rules):
    with MeshLayout(mesh_shape, rules).scope():
        layer = make_layer(gate, sizes)
    return case_of(layer, sizes)


def on_replicas(gate, sizes):
    strategy = tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(DEVICES)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
    with strategy.scope(), ReplicaPlacement(strategy).scope():
        layer = make_layer(gate, sizes)
        adam = FusedAdam()
        adam.build(layer.trainable_variables)
    x, d_y = (_shared_out(strategy, whole) for whole in batch(sizes))

    def of_replica():
        numbers, gradients = gradients_of(layer, tf.identity(x), d_y)
        variables = layer.trainable_variables
        summed = [
            gradient if is_split(variable) else sum_over_replicas(gradient)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        apply_on_replica(adam, summed, variables)
        return numbers

    @tf.function(autograph=False)
    def step():
        results = strategy.run(of_replica)
        return tf.nest.map_structure(
            strategy.experimental_local_results, results
        )

    return Case(layer, adam, step)


def _shared_out(strategy, whole):
    """A variable of which each replica has its share of the rows."""
    shares = tf.split(whole, strategy.num_replicas_in_sync)
    with strategy.scope():
        variable = tf.Variable(
            shares[0],
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.NONE,
        )
    for copy, share in zip(variable.values, shares, strict=True):
        copy.assign(share)
    return variable


def cases(gate, sizes, only=""):
    """A `Case` of each layout whose name has `only` in it, by its name."""
    made = {ONE: case_of(make_layer(gate, sizes), sizes)}
    for name, mesh_shape, rules in MESHES:
        if only in name:
            made[name] = on_mesh(gate, sizes, mesh_shape, rules)
    if only in REPLICAS:
        made[REPLICAS] = on_replicas(gate, sizes)
    return made
