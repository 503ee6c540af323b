"""What every gate does with what it is called with, right and wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from every_gate import GATES

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

N, D, E = 6, 4, 4
OF_ONE_EXPERT = {
    "noisy_top_k": lambda: NoisyTopKGate(1, k=1),
    "hierarchical": lambda: HierarchicalGate(1, 1, k=(1, 1)),
    "top_k": lambda: TopKGate(1, k=1, softmax="before"),
    "switch": lambda: SwitchGate(1),
    "bias_balanced": lambda: BiasBalancedGate(1, k=1),
    "threshold": lambda: ThresholdGate(1, k_max=1, target=1),
    "batchwise": lambda: BatchwiseGate(1, k=1),
    "expert_choice": lambda: ExpertChoiceGate(1, causal=False),
}
all_gates = pytest.mark.parametrize("name", GATES)
in_both_modes = pytest.mark.parametrize("training", (False, True))


def built_gate(name, **kwargs):
    """A gate with random kernels, and tokens for it."""
    rng = np.random.default_rng(0)
    gate = GATES[name](**kwargs)
    gate.build((None, D))
    for weight in gate.trainable_variables:
        if weight.name.endswith("kernel"):
            weight.assign(rng.normal(size=weight.shape))
    return gate, rng.normal(size=(N, D)).astype("float32")


def arrays(routing):
    return [np.array(x) for x in tf.nest.flatten(list(routing))]


@all_gates
@pytest.mark.parametrize("shape", [(2, 3, D), (D,), (N, D + 1)])
def test_inputs_that_are_no_tokens(name, shape):
    """Sequences would be routed by axes that are not the experts'."""
    gate, _ = built_gate(name)
    with pytest.raises(ValueError, match=r"`inputs` must be .*D = 4.*shape=\("):
        gate(np.ones(shape, "float32"))


@all_gates
@pytest.mark.parametrize("shape", [(1,), (N - 1,), (N, 1)])
def test_mask_of_another_shape(name, shape):
    """One of one token, or of one column, would be spread over all."""
    gate, x_ND = built_gate(name)
    with pytest.raises(ValueError, match=r"`mask` must have .*mask.shape=\("):
        gate(x_ND, mask=np.ones(shape, bool))


@all_gates
@in_both_modes
def test_mask_of_numbers_is_that_of_booleans(name, training):
    numbers = [1, 0, 1, 1, 0, 1]
    expected, *others = (
        arrays(gate(x_ND, mask=mask, training=training))
        for mask in (
            np.array(numbers, bool),
            np.array(numbers),
            tf.constant(numbers, "float32"),
            numbers,
        )
        for gate, x_ND in [built_gate(name)]
    )
    assert expected[0][1].tolist() == [-1] * expected[0].shape[1]
    for other in others:
        for ours, theirs in zip(other, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@all_gates
@in_both_modes
@pytest.mark.parametrize("jitter", (False, True))
def test_variables_are_tokens_as_tensors_are(name, training, jitter):
    kwargs = {"jitter": 0.1} if jitter and name in ("top_k", "switch") else {}
    (gate, x_ND), (other, _) = (built_gate(name, **kwargs) for _ in range(2))
    mask = [True] * (N - 1) + [False]
    variables = tf.Variable(x_ND), tf.Variable(mask)
    keras.utils.set_random_seed(0)
    expected = gate(x_ND, mask=np.array(mask), training=training)
    keras.utils.set_random_seed(0)
    with tf.GradientTape() as tape:
        actual = other(variables[0], mask=variables[1], training=training)
        total = tf.reduce_sum(actual.gate**2)
    assert tape.gradient(total, variables[0]) is not None
    if not kwargs:  # whose random numbers have no seed
        for ours, theirs in zip(arrays(actual), arrays(expected), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@all_gates
def test_layer_called_with_another_depth_says_so(name):
    layer = SparseMoE(E, hidden_dim=3, gate=GATES[name]())
    layer(np.ones((2, 3, D)))
    with pytest.raises(ValueError, match="D = 4, the depth of the first call"):
        layer(np.ones((2, 3, D + 1)))


@all_gates
@in_both_modes
@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_all_but_the_choice_is_of_the_router_s_dtype(name, training, dtype):
    gate, x_ND = built_gate(name, dtype=dtype)
    routing = gate(x_ND, training=training)
    assert routing.expert_index.dtype == tf.int32
    for tensor in tf.nest.flatten(list(routing[1:])):
        assert tensor.dtype == dtype


@in_both_modes
@pytest.mark.parametrize("name", OF_ONE_EXPERT)
def test_a_single_expert_takes_every_token(name, training):
    gate = OF_ONE_EXPERT[name]()
    routing = gate(np.random.normal(size=(N, D)), training=training)
    np.testing.assert_array_equal(routing.expert_index, np.zeros((N, 1)))
    np.testing.assert_array_equal(routing.load, [N])
    if name != "bias_balanced":  # whose gate is a sigmoid
        np.testing.assert_allclose(routing.gate, np.ones((N, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    "name", ("top_k", "switch", "bias_balanced", "threshold")
)
def test_gates_of_static_shapes_compile_with_xla(name):
    """Twice: what the first call moves, the second goes by."""
    (gate, x_ND), (compiled_gate, _) = built_gate(name), built_gate(name)
    assert gate.supports_jit
    compiled = tf.function(
        compiled_gate, jit_compile=True, autograph=False, reduce_retracing=False
    )
    for _ in range(2):
        expected = arrays(gate(x_ND, training=True))
        actual = arrays(compiled(tf.constant(x_ND), training=True))
        for ours, theirs in zip(actual, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(compiled_gate.weights, gate.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
