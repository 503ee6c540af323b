"""Gates of strict balance with known scores, and what they come to."""

import numpy as np
import tensorflow as tf

from moe_keras import BatchwiseGate

N, D, E = 7, 4, 5


def built_gate(k=2, seed=0, dtype="float64", **kwargs):
    """A gate with random weights, and tokens for it."""
    rng = np.random.default_rng(seed)
    gate = BatchwiseGate(E, k=k, dtype=dtype, **kwargs)
    gate.build((None, D))
    gate.gate_kernel.assign(rng.normal(size=(D, E)))
    set_thresholds(gate, rng.uniform(0.1, 0.4, E))
    return gate, tf.constant(rng.normal(size=(N, D)))


def set_thresholds(gate, thresholds):
    gate.log_threshold.assign(np.log(thresholds) / 10)


def gate_of_scores(score_NE, k, thresholds=0.25, **kwargs):
    """A gate, and tokens whose scores are the rows given."""
    num_experts = np.shape(score_NE)[1]
    gate = BatchwiseGate(num_experts, k=k, dtype="float64", **kwargs)
    gate.build((None, num_experts))
    gate.gate_kernel.assign(np.eye(num_experts))
    set_thresholds(gate, np.broadcast_to(thresholds, num_experts))
    return gate, tf.math.log(tf.constant(score_NE, tf.float64))


def scores(gate, x_ND):
    powers = np.exp(x_ND.numpy() @ gate.gate_kernel.numpy())
    return powers / powers.sum(1, keepdims=True)
