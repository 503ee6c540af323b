"""The loss of a token."""

import numpy as np
import tensorflow as tf

from trainers.engine.losses import (
    masked_sum,
    smoothed_cross_entropy,
    without_smoothing,
)


def _by_definition(targets, logits, smoothing):
    """-sum_v q_v log p_v with q = (1 - s) onehot + s / V."""
    vocab = logits.shape[-1]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    labels = (1 - smoothing) * np.eye(vocab)[targets] + smoothing / vocab
    return -(labels * log_probs).sum(-1)


def test_equals_the_definition_with_and_without_smoothing():
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 3, 5))
    targets = random.integers(0, 5, size=(2, 3))
    for smoothing in (0.0, 0.1):
        np.testing.assert_allclose(
            smoothed_cross_entropy(
                tf.constant(targets), tf.constant(logits), smoothing
            ),
            _by_definition(targets, logits, smoothing),
            rtol=1e-6,
        )


def test_plain_loss_comes_back_from_the_smoothed_one():
    random = np.random.default_rng(0)
    logits = tf.constant(3 * random.normal(size=(2, 3, 5)), tf.float32)
    targets = tf.constant(random.integers(0, 5, size=(2, 3)))
    for smoothing in (0.0, 0.1, 0.6):
        smoothed = smoothed_cross_entropy(targets, logits, smoothing)
        np.testing.assert_allclose(
            without_smoothing(smoothed, targets, logits, smoothing),
            _by_definition(targets.numpy(), logits.numpy(), 0.0),
            rtol=1e-5,
        )


def test_gradient_is_the_softmax_minus_the_label():
    logits = tf.constant([[1.0, 2.0, 0.5]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = smoothed_cross_entropy(tf.constant([1]), logits, 0.3)
    # label = 0.7 onehot + 0.1
    expected = tf.nn.softmax(logits) - [[0.1, 0.8, 0.1]]
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-6)


def test_masked_tokens_do_not_count():
    loss, tokens = masked_sum(
        tf.constant([[1.0, 2.0, 40.0]]), tf.constant([[True, True, False]])
    )
    assert (float(loss), float(tokens)) == (3.0, 2.0)
