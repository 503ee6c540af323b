"""Experts that choose among tokens of two replicas, against one device."""

import numpy as np
import pytest
import tensorflow as tf
from small_gates import dense_gates

from moe_keras import BatchwiseGate, ExpertChoiceGate, SparseMoE
from moe_keras.placement.replicas import replica_index, sum_over_replicas
from moe_keras.placement.shared_choice import choose_tokens

N, D, E = 9, 4, 5
GATES = {
    "batchwise": lambda: BatchwiseGate(E, k=2, dtype="float64"),
    "batchwise_k_1": lambda: BatchwiseGate(E, k=1, dtype="float64"),
    "expert_choice": lambda: ExpertChoiceGate(E, causal=False, dtype="float64"),
}
# The tokens of replica 0 end here; the others are those of replica 1.
shares = pytest.mark.parametrize("end", (4, 7, 0, N))


def on_two(strategy, function, end):
    """What a function of a slice of the tokens gives for each replica's."""

    @tf.function(autograph=False)
    def of_replica():
        share = tf.gather([[0, end], [end, N]], replica_index())
        return function(slice(share[0], share[1]))

    results = strategy.run(of_replica)

    def of(replica):
        return tf.nest.map_structure(lambda x: x.values[replica], results)

    return [of(0), of(1)]


def brute_force(score_NE, m, mask_N):
    taken_NE = np.zeros(score_NE.shape, bool)
    for e in range(score_NE.shape[1]):
        order = np.argsort(-score_NE[:, e], kind="stable")
        taken_NE[[n for n in order if mask_N[n]][:m], e] = True
    return taken_NE


@shares
@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_the_best_of_both_are_taken(end, dtype, two_replicas):
    """Of 3 tokens each; ties, far below the rest, and as good as can be."""
    score_NE = -np.random.default_rng(0).exponential(size=(N, E)).astype(dtype)
    score_NE[:, 1] = -2.0  # the first three that are tokens
    score_NE[2:7, 2] = -1e30
    score_NE[:, 3] = np.where(np.arange(N) % 2, 0.0, -0.0)
    mask_N = np.arange(N) != 1

    def choose(share):
        mask = tf.constant(mask_N)[share]
        return choose_tokens(tf.constant(score_NE)[share], 3, mask)

    taken = on_two(two_replicas, choose, end)
    expected = brute_force(score_NE, 3, mask_N)
    assert expected[:, 1].nonzero()[0].tolist() == [0, 2, 3]
    np.testing.assert_array_equal(np.concatenate(taken), expected)
    np.testing.assert_array_equal(choose_tokens(score_NE, 3, mask_N), expected)


@pytest.mark.parametrize("m", (0, 1, N))
def test_none_and_all_of_the_tokens(m, two_replicas):
    score_NE = tf.math.log(tf.random.stateless_uniform((N, E), (1, 2)))
    taken = on_two(
        two_replicas, lambda share: choose_tokens(score_NE[share], m), 4
    )
    assert np.concatenate(taken).sum(axis=0).tolist() == [m] * E


@shares
@pytest.mark.parametrize("name", GATES)
def test_gate_of_two_replicas_equals_that_of_one_device(
    name, end, two_replicas
):
    random = np.random.default_rng(1)
    x_ND, mask_N = random.normal(size=(N, D)), np.arange(N) % 4 != 1
    kernel = random.normal(size=(D, E))

    def run(gate, share):
        with tf.GradientTape(persistent=True) as tape:
            x, mask = tf.constant(x_ND)[share], tf.constant(mask_N)[share]
            routing = gate(x, mask=mask, training=True)
            # As if expert e returned (e + 1)^2.
            values = tf.cast(routing.expert_index + 1, "float64") ** 2
            task = tf.reduce_sum(tf.sin(routing.gate * values))
        weights = [weight.value for weight in gate.trainable_variables]
        return routing, [
            tape.gradient(target, weights, unconnected_gradients="zero")
            for target in (task, routing.loss)
        ]

    def built():
        gate = GATES[name]()
        gate.build((None, D))
        gate.gate_kernel.assign(kernel)
        return gate

    one, (task, loss) = run(built(), slice(None))
    with two_replicas.scope():
        shared = built()
    parts = on_two(two_replicas, lambda share: run(shared, share), end)
    routings = [part[0] for part in parts]
    np.testing.assert_allclose(
        np.concatenate([dense_gates(r, E) for r in routings]),
        dense_gates(one, E),
    )
    for total in ("importance", "load"):
        ours = sum(getattr(r, total) for r in routings)
        np.testing.assert_allclose(ours, getattr(one, total), atol=1e-12)
    for figure, value in one.metrics.items():
        assert float(sum(r.metrics[figure] for r in routings)) == float(value)
    for routing in routings:  # the same on both
        np.testing.assert_allclose(routing.loss, one.loss)
    for ours in zip(*(part[1][0] for part in parts), task, strict=True):
        np.testing.assert_allclose(ours[0] + ours[1], ours[2], atol=1e-12)
    # Each loss is that of both: added up they count twice.
    for ours in zip(*(part[1][1] for part in parts), loss, strict=True):
        np.testing.assert_allclose((ours[0] + ours[1]) / 2, ours[2], atol=1e-12)


def test_layer_at_inference_equals_that_of_one_device(two_replicas):
    """Experts choose out of training too, among the tokens of both."""
    x_ND = np.random.default_rng(2).normal(size=(N, D))

    def built():
        layer = SparseMoE(
            E, hidden_dim=3, gate=GATES["expert_choice"](), dtype="float64"
        )
        layer.build((None, D))
        return layer

    one = built()
    with two_replicas.scope():
        shared = built()
    shared.set_weights(one.get_weights())
    parts = on_two(two_replicas, lambda s: shared(tf.constant(x_ND)[s]), 6)
    np.testing.assert_allclose(np.concatenate(parts), one(x_ND))
    alone = np.concatenate([one(x_ND[:6]), one(x_ND[6:])])
    assert np.abs(alone - np.concatenate(parts)).max() > 0.01


def test_what_travels_does_not_grow_with_the_tokens(monkeypatch):
    """4 times 256 counts for each expert (float32), and ties once."""
    import moe_keras.placement.replicas as replicas
    import moe_keras.placement.shared_choice as shared_choice

    sent = []

    def counted(values):
        sent.append(tf.size(values))
        return sum_over_replicas(values)

    monkeypatch.setattr(replicas, "sum_over_replicas", counted)
    monkeypatch.setattr(shared_choice, "sum_over_replicas", counted)
    monkeypatch.setattr(shared_choice, "num_replicas", lambda: 2)
    for num_tokens in (10, 1000):
        score = -np.random.default_rng(0).exponential(size=(num_tokens, E))
        taken = choose_tokens(tf.constant(score, "float32"), 3)
        np.testing.assert_array_equal(
            taken, brute_force(score, 3, np.ones(num_tokens, bool))
        )
    assert [int(size) for size in sent] == 2 * [*(4 * [256 * E]), E]
