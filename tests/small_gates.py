"""What tests of several gates ask of a routing, or of a layer with the gate."""

import numpy as np
import tensorflow as tf

from moe_keras import SparseMoE


def dense_gates(routing, num_experts):
    """(N, E): the gate of each expert, 0 where it is not chosen."""
    gates = np.zeros((len(routing.gate), num_experts))
    for n, j in np.ndindex(*routing.gate.shape):
        if routing.expert_index[n, j] >= 0:
            gates[n, routing.expert_index[n, j]] += routing.gate[n, j]
    return gates


def task_gradient(gate):
    """Gradient of a gate's kernel by what a layer's outputs are used for."""
    layer = SparseMoE(gate.num_experts, hidden_dim=6, gate=gate)
    x_ND = tf.random.normal((9, 3), seed=0)
    with tf.GradientTape() as tape:
        task = tf.reduce_sum(layer(x_ND, training=True) ** 2)
    return tape.gradient(task, gate.gate_kernel.value)
