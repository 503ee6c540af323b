"""What every gate with a linear router promises, checked for each."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from finite_differences import check_gradients

from moe_keras import (
    BatchwiseGate,
    BiasBalancedGate,
    ExpertChoiceGate,
    NoisyTopKGate,
    SparseMoE,
    SwitchGate,
    ThresholdGate,
    TopKGate,
)

N, D, E = 8, 4, 5
LOSSES = {"balance_loss_weight": 0.3, "z_loss_weight": 0.2}
GATES = {
    "top_k": lambda e=E, **kwargs: TopKGate(e, k=2, **LOSSES, **kwargs),
    "top_k_of_all": lambda e=E, **kwargs: TopKGate(e, k=e, **LOSSES, **kwargs),
    "top_k_softmax_before": lambda e=E, **kwargs: TopKGate(
        e, k=2, softmax="before", **LOSSES, **kwargs
    ),
    "switch": lambda e=E, **kwargs: SwitchGate(
        e, jitter=0.0, **LOSSES, **kwargs
    ),
    "bias_balanced": lambda e=E, **kwargs: BiasBalancedGate(e, k=2, **kwargs),
    "bias_balanced_k_1": lambda e=E, **kwargs: BiasBalancedGate(
        e, k=1, **kwargs
    ),
    "threshold": lambda e=E, **kwargs: ThresholdGate(
        e, k_max=3, mass=0.7, **LOSSES, **kwargs
    ),
    "expert_choice": lambda e=E, **kwargs: ExpertChoiceGate(
        e, causal=False, **kwargs
    ),
}
HAVE_LOSSES = [
    name
    for name in GATES
    if not name.startswith(("bias_balanced", "expert_choice"))
]
all_gates = pytest.mark.parametrize("name", GATES)
in_both_modes = pytest.mark.parametrize("training", (False, True))


def built_gate(name, num_experts=E, dtype="float64", **kwargs):
    """A gate with a random kernel, and tokens for it."""
    rng = np.random.default_rng(0)
    gate = GATES[name](num_experts, dtype=dtype, **kwargs)
    gate.build((None, D))
    gate.gate_kernel.assign(rng.normal(size=(D, num_experts)))
    return gate, rng.normal(size=(N, D))


def total_of(routing):
    """A number that depends on all that has a gradient."""
    values = tf.cast(routing.expert_index + 1, routing.gate.dtype) ** 2
    return tf.reduce_sum(tf.sin(routing.gate * values)) + routing.loss


def assert_same(first, second):
    """Two routings of the same tokens, whatever K is in each."""
    for ours, theirs in zip(first, second, strict=True):
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            ours, theirs = list(ours.values()), list(theirs.values())
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@all_gates
@in_both_modes
def test_sums_are_those_of_the_choices(name, training):
    gate, x_ND = built_gate(name)
    routing = gate(x_ND, training=training)
    expert_NK, gate_NK = np.array(routing.expert_index), np.array(routing.gate)
    importance_E, load_E = np.zeros(E), np.zeros(E)
    for experts, gates in zip(expert_NK, gate_NK, strict=True):
        chosen = experts[experts >= 0]
        assert len(set(chosen)) == len(chosen)  # none twice
        assert (experts[: len(chosen)] >= 0).all()  # empty places come last
        assert (gates[len(chosen) :] == 0).all()
        assert (gates[: len(chosen)] > 0).all()
        for expert, weight in zip(chosen, gates, strict=False):
            importance_E[expert] += weight
            load_E[expert] += 1
    np.testing.assert_allclose(routing.importance, importance_E)
    np.testing.assert_array_equal(routing.load, load_E)


@all_gates
def test_two_inference_calls_are_equal_to_the_bit(name):
    gate, x_ND = built_gate(name, dtype="float32")
    gate(x_ND, training=True)
    first, second = gate(x_ND), gate(x_ND)
    for ours, theirs in zip(first[:4], second[:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)


@all_gates
def test_inference_has_no_loss(name):
    gate, x_ND = built_gate(name)
    assert float(gate(x_ND).loss) == 0.0


@all_gates
@in_both_modes
@pytest.mark.parametrize("filling", (0.0, 1e30, np.nan))
def test_content_of_padding_changes_nothing(name, training, filling):
    mask = np.array([True, False, True, True, False, True, True, True])

    def run(filling):
        gate, x_ND = built_gate(name)
        x_ND[~mask] = filling
        with tf.GradientTape() as tape:
            routing = gate(tf.constant(x_ND), mask=mask, training=training)
            total = total_of(routing)
        gradient = tape.gradient(total, gate.gate_kernel.value)
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
        assert (routing.expert_index.numpy()[~mask] == -1).all()
        assert (routing.gate.numpy()[~mask] == 0).all()
        state = [weight.numpy() for weight in gate.weights]
        return routing, [gradient, *state]

    (first, rest), (second, others) = run(1.0), run(filling)
    assert_same(first, second)
    for ours, theirs in zip(rest, others, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@all_gates
@in_both_modes
def test_real_tokens_are_routed_as_if_alone(name, training):
    mask = np.array([True, True, False, True, False, False, True, False])
    gate, x_ND = built_gate(name)
    padded = gate(x_ND, mask=mask, training=training)
    alone_gate, _ = built_gate(name)
    alone = alone_gate(x_ND[mask], training=training)
    assert_same(
        padded._replace(
            expert_index=padded.expert_index[mask], gate=padded.gate[mask]
        ),
        alone,
    )
    for ours, theirs in zip(gate.weights, alone_gate.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy())


@all_gates
@pytest.mark.parametrize("num_tokens", (0, 1, 3))
@pytest.mark.parametrize("masked", (False, True))
def test_gradients_are_finite_and_never_none(name, num_tokens, masked):
    """No token, one, more experts than tokens, and nothing but padding."""
    gate, x_ND = built_gate(name)
    mask = np.zeros(num_tokens, bool) if masked else None
    with tf.GradientTape() as tape:
        routing = gate(x_ND[:num_tokens], mask=mask, training=True)
        total = total_of(routing)
    gradient = tape.gradient(total, gate.gate_kernel.value)
    assert np.isfinite(total) and np.isfinite(gradient).all()
    if masked or not num_tokens:
        assert float(routing.loss) == 0.0
        np.testing.assert_array_equal(routing.load, np.zeros(E))
    for weight in gate.weights:
        assert np.isfinite(weight.numpy()).all()


@all_gates
def test_gradient_equals_finite_differences(name):
    gate, x_ND = built_gate(name)
    state = [weight.numpy() for weight in gate.non_trainable_variables]

    def run():
        for weight, value in zip(
            gate.non_trainable_variables, state, strict=True
        ):
            weight.assign(value)
        return total_of(gate(x_ND, training=True))

    check_gradients(run, [gate.gate_kernel])


@pytest.mark.parametrize("name", HAVE_LOSSES)
def test_gradient_of_the_losses_alone_equals_finite_differences(name):
    kwargs = {"target": None} if name == "threshold" else {}
    gate, x_ND = built_gate(name, **kwargs)
    check_gradients(lambda: gate(x_ND, training=True).loss, [gate.gate_kernel])


@all_gates
@pytest.mark.parametrize("policy", ("mixed_bfloat16", "mixed_float16"))
def test_router_is_float32_under_every_policy(name, policy):
    gate, x_ND = built_gate(name, dtype=policy)
    routing = gate(tf.cast(x_ND, "bfloat16"), training=True)
    assert {weight.dtype for weight in gate.weights} == {"float32"}
    for tensor in (*routing[1:5], *routing.metrics.values()):
        assert tensor.dtype == tf.float32


@all_gates
def test_near_ties_are_told_apart_under_mixed_bfloat16(name):
    # 1.0, 1.001 and 1.002 are the same number in bfloat16. Where experts
    # choose, the one token has them all, the most probable first.
    gate = GATES[name](3, dtype="mixed_bfloat16")
    gate.build((None, 1))
    gate.gate_kernel.assign([[1.0, 1.001, 1.002]])
    routing = gate(tf.ones((1, 1)))
    assert int(routing.expert_index[0, 0]) == 2


@all_gates
def test_sparse_moe_adds_the_loss_of_the_gate_and_no_other(name):
    gate, x_ND = built_gate(name, dtype="float32")
    layer = SparseMoE(E, hidden_dim=3, gate=gate)
    layer(x_ND, training=True)
    again, _ = built_gate(name, dtype="float32")
    expected = float(again(x_ND, training=True).loss)
    np.testing.assert_allclose(sum(layer.losses), expected)
    assert (expected > 0) == (name in HAVE_LOSSES)
    # Without a loss nothing is added: the layer may stand in any loop.
    assert len(layer.losses) == (name in HAVE_LOSSES)
    layer(x_ND)
    assert not layer.losses


@pytest.mark.parametrize("name", [n for n in GATES if n != "expert_choice"])
def test_two_replicas_equal_one_device(name, two_replicas):
    """3 real tokens on one replica and 4 on the other: no mean of means."""
    mask = np.array([True, False, True, True, True, True, True, True])
    mask[-1] = False

    def run(gate, x_ND, mask):
        with tf.GradientTape() as tape:
            loss = gate(x_ND, mask=mask, training=True).loss
        return loss, tape.gradient(loss, gate.gate_kernel.value)

    single, x_ND = built_gate(name)
    expected = run(single, tf.constant(x_ND), mask)
    with two_replicas.scope():
        shared, _ = built_gate(name)

    @tf.function(autograph=False)
    def of_replica():
        context = tf.distribute.get_replica_context()
        half = context.replica_id_in_sync_group * N // 2
        return run(
            shared,
            tf.constant(x_ND)[half : half + N // 2],
            tf.constant(mask)[half : half + N // 2],
        )

    losses, gradients = two_replicas.run(of_replica)
    for loss in losses.values:
        np.testing.assert_allclose(loss, expected[0])
    if name in HAVE_LOSSES:
        # Each replica's loss is that of both: added up they count twice.
        gradient = sum(gradients.values) / 2
        np.testing.assert_allclose(gradient, expected[1])
    for ours, theirs in zip(shared.weights, single.weights, strict=True):
        for copy in ours.value.values:
            np.testing.assert_allclose(copy.numpy(), theirs.numpy())


@all_gates
def test_kernel_initializer_is_an_argument(name):
    gate = GATES[name](kernel_initializer=keras.initializers.Constant(2.0))
    again = type(gate).from_config(gate.get_config())
    again.build((None, D))
    np.testing.assert_array_equal(again.gate_kernel, np.full((D, E), 2.0))


@pytest.mark.parametrize(
    ("gate", "name", "wrong"),
    [
        (TopKGate, "k", (0, E + 1, 2.0, True)),
        (TopKGate, "jitter", (-1, 1.0, np.nan, "0.1")),
        (TopKGate, "z_loss_weight", (-1, np.nan, np.inf)),
        (SwitchGate, "num_experts", (0, 2.0, None)),
        (SwitchGate, "jitter", (1.5,)),
        (SwitchGate, "balance_loss_weight", (-1, np.nan, True)),
        (BiasBalancedGate, "update_rate", (-1, np.nan)),
        (BiasBalancedGate, "update_every", (0, 2.5, "2", True)),
        (ThresholdGate, "k_max", (0, E + 1, 2.0)),
        (ThresholdGate, "mass", (0, 1, np.nan, "0.5", None)),
        (ThresholdGate, "target", (0.5, E, np.nan, "2")),
        (NoisyTopKGate, "num_experts", (0, None)),
        (NoisyTopKGate, "k", (0, 2.0, True)),
        (NoisyTopKGate, "noise_epsilon", (-1, np.nan)),
        (BatchwiseGate, "threshold_loss_weight", (-1, np.nan)),
    ],
)
def test_a_wrong_argument_is_named_with_what_came(gate, name, wrong):
    for value in wrong:
        with pytest.raises(ValueError, match=f"`{name}` must .*{name}="):
            gate(**{"num_experts": E, name: value})
