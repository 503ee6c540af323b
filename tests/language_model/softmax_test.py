"""Full and sampled softmax, against sums written out with numpy."""

import numpy as np
import pytest
import tensorflow as tf

from language_model.softmax import SampledSoftmax, full_nll

N, D, V = 5, 3, 7
RNG = np.random.default_rng(0)
OUTPUTS = RNG.normal(size=(N, D)).astype("float32")
KERNEL = RNG.normal(size=(V, D)).astype("float32")
BIAS = RNG.normal(size=V).astype("float32")
TARGETS = np.array([0, 6, 3, 3, 1], "int32")


def _expected():
    """log sum_v exp(o_v) - o_t, in float64."""
    logits = OUTPUTS.astype("float64") @ KERNEL.T + BIAS
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(N), TARGETS]


@pytest.mark.parametrize("chunk", [None, 1, 2, 5, 8])
def test_full_likelihood_whatever_the_chunk(chunk):
    nll = full_nll(OUTPUTS, TARGETS, KERNEL, BIAS, chunk)
    np.testing.assert_allclose(nll, _expected(), rtol=1e-5)


def test_logits_of_a_chunk_alone_are_in_memory():
    """The graph of 2 tokens at a time holds no tensor of N rows of V."""
    graph = tf.function(
        lambda outputs: full_nll(outputs, TARGETS, KERNEL, BIAS, chunk=2)
    ).get_concrete_function(tf.TensorSpec((N, D)))
    inner = [graph.graph, *(f.graph for f in graph.graph._functions.values())]
    shapes = [
        output.shape
        for one in inner
        for operation in one.get_operations()
        for output in operation.outputs
    ]
    rows = [s[0] for s in shapes if s.rank == 2 and s[1] == V]
    assert set(rows) <= {2, V}


@pytest.mark.parametrize("counts", [None, [9, 0, 4, 3, 2, 1, 1]])
def test_estimated_normaliser_has_the_true_one_as_its_mean(counts):
    """Of 20,000 estimates with 4 candidates, within 5 standard errors."""
    kind = {"counts": counts} if counts else {"vocab_size": V}
    layer = SampledSoftmax(num_candidates=4, seed=1, **kind)
    logit = (OUTPUTS * KERNEL[TARGETS]).sum(1) + BIAS[TARGETS]

    def normaliser(_):
        return tf.exp(layer(OUTPUTS, TARGETS, KERNEL, BIAS) + logit)

    many = tf.function(
        lambda: tf.map_fn(normaliser, tf.zeros(20_000))
    )().numpy()
    error = many.std(0) / np.sqrt(len(many))
    true = np.exp(_expected() + logit)
    assert (np.abs(many.mean(0) - true) < 5 * error).all()
    assert (error < 0.02 * true).all()  # so that the bound says something


def test_many_candidates_give_the_full_likelihood():
    layer = SampledSoftmax(200_000, vocab_size=V, seed=0)
    nll = layer(OUTPUTS, TARGETS, KERNEL, BIAS)
    np.testing.assert_allclose(nll, _expected(), atol=0.02)


def test_candidates_are_drawn_as_often_as_they_should():
    layer = SampledSoftmax(100_000, counts=[0, 1, 7], seed=0)
    shares = np.bincount(layer.draw(), minlength=3) / 100_000
    np.testing.assert_allclose(shares, np.array([1, 2, 8]) / 11, atol=0.01)


def test_log_uniform_draws_follow_their_formula():
    layer = SampledSoftmax(100_000, vocab_size=3, seed=0)
    shares = np.bincount(layer.draw(), minlength=3) / 100_000
    expected = np.log([2, 3 / 2, 4 / 3]) / np.log(4)
    np.testing.assert_allclose(shares, expected, atol=0.01)


def test_gradient_of_the_kernel_is_of_the_rows_that_were_needed():
    kernel, bias = tf.Variable(KERNEL), tf.Variable(BIAS)
    layer = SampledSoftmax(2, vocab_size=V, seed=0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(OUTPUTS, TARGETS, kernel, bias))
    gradient = tape.gradient(loss, kernel)
    assert isinstance(gradient, tf.IndexedSlices)
    assert gradient.values.shape[0] == N + 2


@pytest.mark.parametrize(
    "arguments, word",
    [
        ({"num_candidates": 0, "vocab_size": 3}, "num_candidates"),
        ({"num_candidates": 2}, "vocab_size"),
        ({"num_candidates": 2, "counts": [1, -1]}, "counts"),
    ],
)
def test_wrong_arguments_are_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        SampledSoftmax(**arguments)
