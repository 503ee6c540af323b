"""Loss of a model that predicts the next token.

N: tokens    V: vocabulary
"""

import tensorflow as tf


def smoothed_cross_entropy(targets, logits, smoothing=0.0):
    """Computes the cross entropy against smoothed labels.

    The label is `1 - smoothing` at the target plus `smoothing / V`
    everywhere.

    Args:
        targets: Integer tensor `(...)`.
        logits: Float tensor `(..., V)`.
        smoothing: float in [0, 1).

    Returns:
        Nats for each token, of the shape of `targets`.

    Example:

    >>> logits = tf.math.log([[0.5, 0.25, 0.25]])
    >>> loss = smoothed_cross_entropy(tf.constant([0]), logits)
    >>> round(float(loss[0]), 3)
    0.693
    """
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    # Labels written out, as large as the logits, and one fused operation take
    # three quarters of the time of a sparse loss with a correction.
    size = logits.shape[-1]
    fraction = smoothing / size
    labels = tf.one_hot(
        targets, size, 1.0 - smoothing + fraction, fraction, dtype=logits.dtype
    )
    return tf.nn.softmax_cross_entropy_with_logits(labels, logits)


def without_smoothing(loss, targets, logits, smoothing):
    """Recovers the plain cross entropy from a smoothed one.

    With labels `1 - smoothing` at the target t and `smoothing / V` everywhere,
    of logits z,

        loss     = logsumexp(z) - (1 - smoothing) z_t - smoothing mean(z)
        -log p_t = logsumexp(z) - z_t = loss + smoothing (mean(z) - z_t)

    so that a mean over the logits is all it costs. It has no gradient.

    Args:
        loss: Tensor `(...)`, what `smoothed_cross_entropy` gave.
        targets, logits, smoothing: What it was given.

    Returns:
        Nats for each token, of the shape of `targets`.

    Example:

    >>> logits = tf.math.log([[0.5, 0.25, 0.25]])
    >>> loss = smoothed_cross_entropy(tf.constant([0]), logits, 0.3)
    >>> plain = without_smoothing(loss, tf.constant([0]), logits, 0.3)
    >>> round(float(loss[0]), 3), round(float(plain[0]), 3)
    (0.832, 0.693)
    """
    loss, logits = tf.stop_gradient(loss), tf.stop_gradient(logits)
    if not smoothing:
        return loss
    rank = len(targets.shape)
    at_target = tf.gather(logits, targets, axis=-1, batch_dims=rank)
    return loss + smoothing * (tf.reduce_mean(logits, axis=-1) - at_target)


def masked_sum(loss, mask):
    """Sums the loss over real tokens, and counts them; both float32."""
    weights = tf.cast(mask, loss.dtype)
    return tf.reduce_sum(loss * weights), tf.reduce_sum(weights)
