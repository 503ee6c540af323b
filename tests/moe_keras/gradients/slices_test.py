"""Gradients of busy experts alone against those of all experts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import moe_keras
from moe_keras import FactoredAdam
from moe_keras.gradients.slices import ExpertSlices, without_repeats
from moe_keras.parallel import MeshLayout

EXPERTS = {
    "feed_forward": lambda **kwargs: moe_keras.FeedForwardExperts(
        5, hidden_dim=4, kernel_initializer=_initializer(), **kwargs
    ),
    "recomputed": lambda **kwargs: moe_keras.FeedForwardExperts(
        5,
        hidden_dim=4,
        recompute=True,
        kernel_initializer=_initializer(),
        **kwargs,
    ),
    "gated": lambda **kwargs: moe_keras.GatedFeedForwardExperts(
        5,
        hidden_dim=4,
        use_bias=True,
        kernel_initializer=_initializer(),
        **kwargs,
    ),
}


def _initializer():
    return keras.initializers.GlorotUniform(seed=3)


def _gradients(layer, call):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(call() ** 2)
    return tape.gradient(loss, layer.trainable_variables)


def _normal(*shape, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=shape).astype("float32")


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", EXPERTS)
def test_slices_are_the_gradients_of_busy_experts(name, in_graph):
    rows, counts = _normal(6, 3), [2, 0, 3, 0, 1]
    found = []
    for sparse in (True, False):
        experts = EXPERTS[name](sparse_gradients=sparse)
        experts.build((None, 3))

        def run(experts=experts):
            def call():
                return experts(rows, counts=counts, training=True)

            return _gradients(experts, call)

        found.append((tf.function(run) if in_graph else run)())
    for ours, whole in zip(*found, strict=True):
        assert ours.indices.numpy().tolist() == [0, 2, 4]
        assert ours.values.shape[0] == 3
        np.testing.assert_allclose(
            tf.convert_to_tensor(ours), whole, rtol=1e-5, atol=1e-6
        )


def test_no_busy_expert_gives_no_slice():
    experts = EXPERTS["feed_forward"](sparse_gradients=True)
    experts.build((None, 3))
    gradient, *_ = _gradients(
        experts,
        lambda: experts(tf.ones((2, 3)), counts=5 * [0], training=True),
    )
    assert gradient.values.shape == (0, 3, 4)
    assert not np.any(tf.convert_to_tensor(gradient))


def test_gradients_cross_the_border_of_a_function():
    experts = EXPERTS["feed_forward"](sparse_gradients=True)
    experts.build((None, 3))
    rows, counts = _normal(4, 3), [0, 4, 0, 0, 0]

    @tf.function
    def call():
        return experts(rows, counts=counts, training=True)

    (gradient, *_), (whole, *_) = (
        _gradients(experts, run)
        for run in (call, lambda: experts(rows, counts=counts, training=True))
    )
    assert gradient.indices.numpy().tolist() == [1]
    np.testing.assert_allclose(
        gradient.values[0], tf.convert_to_tensor(whole)[1], rtol=1e-5
    )


def test_groups_without_a_token_have_no_slice():
    found = []
    for sparse in (True, False):
        gate = moe_keras.HierarchicalGate(
            4, 3, k=(1, 2), seed=1, sparse_gradients=sparse
        )
        gate.build((None, 5))
        gate.primary.gate_kernel.assign(
            np.eye(5, 4, dtype="float32") * [50, 0, 50, 0]
        )
        gate.gate_kernel.assign(_normal(4, 5, 3))
        tokens = np.eye(5, dtype="float32")[[0, 2, 0]]  # to groups 0 and 2
        found.append(_gradients(gate, lambda: gate(tokens).gate))  # noqa: B023
    is_kernel = [w is gate.gate_kernel for w in gate.trainable_variables]
    number = is_kernel.index(True)
    ours, whole = (gradients[number] for gradients in found)
    assert ours.indices.numpy().tolist() == [0, 2]
    np.testing.assert_allclose(tf.convert_to_tensor(ours), whole, rtol=1e-5)


def test_repeated_rows_are_summed_before_their_norm():
    # Row 2 has 3 + 1 = 4, row 0 has 3: norm 5, and not sqrt(9 + 1 + 9).
    slices = tf.IndexedSlices([[3.0], [1.0], [3.0]], [2, 2, 0], [7, 1])
    once = without_repeats(slices)
    assert float(tf.linalg.global_norm([once])) == pytest.approx(5.0)
    dense = tf.convert_to_tensor(once).numpy()[:, 0]
    np.testing.assert_array_equal(dense, [3, 0, 4, 0, 0, 0, 0])
    assert without_repeats(once) is once


def _fitted(sparse, **compiled):
    keras.utils.set_random_seed(1)
    layer = moe_keras.SparseMoE(
        8,
        gate=moe_keras.SwitchGate(8),
        expert=moe_keras.FeedForwardExperts(
            8, hidden_dim=6, use_bias=False, sparse_gradients=sparse
        ),
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    optimizer = FactoredAdam(0.05, beta_2=0.9, lazy=sparse)
    model.compile(optimizer, "mse", jit_compile=False, **compiled)
    x = _normal(64, 3)
    model.fit(x, np.sin(x), batch_size=4, epochs=2, verbose=0, shuffle=False)
    return model.get_weights()


@pytest.mark.parametrize("compiled", [{}, {"run_eagerly": True}], ids=str)
def test_fit_comes_to_the_same_weights(compiled):
    for ours, whole in zip(
        _fitted(True, **compiled), _fitted(False, **compiled), strict=True
    ):
        np.testing.assert_allclose(ours, whole, rtol=1e-4, atol=1e-5)


def test_half_precision_keeps_slices():
    experts = EXPERTS["feed_forward"](
        sparse_gradients=True, dtype="mixed_bfloat16"
    )
    experts.build((None, 3))
    rows = _normal(4, 3)
    gradient, *_ = _gradients(
        experts, lambda: experts(rows, counts=[0, 0, 4, 0, 0], training=True)
    )
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.dtype == tf.float32
    assert gradient.indices.numpy().tolist() == [2]


def test_a_mesh_sums_whole_gradients():
    x, found = _normal(6, 3), []
    for sparse in (True, False):
        keras.utils.set_random_seed(1)
        with MeshLayout("all:2", "experts:all").scope():
            layer = moe_keras.SparseMoE(
                4,
                gate=moe_keras.SwitchGate(4),
                expert=moe_keras.FeedForwardExperts(
                    4, hidden_dim=6, sparse_gradients=sparse
                ),
            )
            layer.build((None, 3))
        found.append(_gradients(layer, lambda: layer(x)))  # noqa: B023
    for ours, whole in zip(*found, strict=True):
        assert not isinstance(ours, ExpertSlices)
        np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-6)
