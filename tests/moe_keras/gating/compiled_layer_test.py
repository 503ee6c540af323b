"""A layer compiles with XLA, whichever gate says so."""

import numpy as np
import pytest
import tensorflow as tf

from moe_keras import (
    BatchwiseGate,
    BiasBalancedGate,
    ExpertChoiceGate,
    HierarchicalGate,
    NoisyTopKGate,
    SparseMoE,
    SwitchGate,
    ThresholdGate,
    TopKGate,
)

N, D, E = 12, 4, 5
GATES = {
    "noisy_top_k": lambda: NoisyTopKGate(E, k=2, seed=0),
    "top_k": lambda: TopKGate(E, k=2, z_loss_weight=0.1),
    "switch": lambda: SwitchGate(E, jitter=0.0),
    "bias_balanced": lambda: BiasBalancedGate(E, k=2),
    "threshold": lambda: ThresholdGate(E, k_max=3),
}
OF_DYNAMIC_SHAPES = {
    "hierarchical": lambda: HierarchicalGate(E, 1, k=(2, 1)),
    "batchwise": lambda: BatchwiseGate(E, k=2),
    "expert_choice": lambda: ExpertChoiceGate(E, causal=False),
}


def run_of(layer, training, **kwargs):
    """A graph of the layer's outputs, losses and gradients."""

    @tf.function(autograph=False, **kwargs)
    def run(x_ND, mask_N):
        with tf.GradientTape() as tape:
            y_ND = layer(x_ND, mask=mask_N, training=training)
            loss = tf.reduce_sum(y_ND**2) + sum(layer.losses)
        variables = [v.value for v in layer.trainable_variables]
        # Out of training nothing depends on the kernel of the noise.
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return [y_ND, loss, *gradients]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize(
    "masked, training, capacity_factor",
    [
        (False, False, 1.1),
        (False, True, 1.1),
        (True, False, 1.1),
        (True, True, 1.1),
        (False, False, None),
        (True, True, None),
    ],
)
def test_compiled_layer_gives_what_a_graph_gives(
    name, masked, training, capacity_factor
):
    if name == "noisy_top_k" and training:
        pytest.skip("XLA draws other noise: see the next test")
    mask_N = tf.range(N) % 4 > 0 if masked else None
    rng = np.random.default_rng(0)
    x_ND = tf.constant(rng.normal(size=(N, D)), "float32")
    layer = SparseMoE(
        E,
        gate=GATES[name](),
        hidden_dim=3,
        capacity_factor=capacity_factor,
    )
    layer.build((None, D))
    assert layer.supports_jit
    layer.gate.gate_kernel.assign(rng.normal(size=(D, E)))
    state = [weight.numpy() for weight in layer.gate.non_trainable_variables]
    expected = run_of(layer, training)(x_ND, mask_N)
    for weight, value in zip(
        layer.gate.non_trainable_variables, state, strict=True
    ):
        weight.assign(value)
    actual = run_of(layer, training, jit_compile=True)(x_ND, mask_N)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_noisy_gate_compiles_in_training():
    layer = SparseMoE(E, k=2, hidden_dim=3, capacity_factor=1.1, seed=0)
    layer.build((None, D))
    results = run_of(layer, True, jit_compile=True)(tf.ones((N, D)), None)
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize("name", OF_DYNAMIC_SHAPES)
def test_layer_says_so_where_its_gate_does_not_compile(name):
    for capacity_factor in (1.1, None):
        gate = OF_DYNAMIC_SHAPES[name]()
        layer = SparseMoE(
            E, gate=gate, hidden_dim=3, capacity_factor=capacity_factor
        )
        assert not layer.supports_jit
