"""Many small experts with few rows each, as batched products.

A loop over experts takes some 30 operations for each of them, which is nothing
beside the products of a large expert and nearly everything beside those of a
small one. Here the experts that have few rows run together: their weights are
gathered, their rows padded to one number, and every product is one operation.
The gradients of gathered weights are slices of the busy experts. The experts
that have more rows go through the loop as ever.

S: rows of all experts    B: busy experts    C: rows of one, padded
D: depth    H: hidden size    E: experts
"""

import math

import tensorflow as tf

from moe_keras.experts.batches import feed_forward_batches
from moe_keras.experts.segments import feed_forward_segments
from moe_keras.gradients.custom_gradient import custom_gradient
from moe_keras.gradients.slices import ExpertSlices

_FEW = 16  # rows of an expert that runs with others
_SMALL = 2**14  # numbers in the kernels of an expert that is worth copying


def are_small(weights):
    """Whether experts with these weights should run together.

    Args:
        weights: List of tensors `(E, ...)`.

    Example:

    >>> are_small([tf.ones((2, 8, 16)), tf.ones((2, 16, 8))])
    True
    """
    return sum(math.prod(weight.shape[1:]) for weight in weights) <= _SMALL


def feed_forward_small(rows, counts, weights, activation, recompute=False):
    """Computes what `feed_forward_segments` does, with sparse gradients.

    Args:
        rows, counts, weights, activation, recompute: As of
            `feed_forward_segments`; `kernel_in` is one tensor.

    Returns:
        Tensor `(S, D')`.

    Example:

    >>> from moe_keras.experts.activation import plain_activation
    >>> scale = tf.reshape([2.0, 3.0], (2, 1, 1))
    >>> y = feed_forward_small(
    ...     rows=tf.ones((4, 1)),
    ...     counts=[1, 2],
    ...     weights=[scale, tf.ones((2, 1, 1))],
    ...     activation=plain_activation(lambda hidden: hidden),
    ... )
    >>> y.numpy().ravel().tolist()
    [2.0, 3.0, 3.0, 0.0]
    """
    counts_E = tf.convert_to_tensor(counts, tf.int32)
    has_few_E = counts_E <= _FEW
    few_E = tf.where(has_few_E, counts_E, 0)
    many_E = counts_E - few_E
    # Rows of nobody, at the end, have no expert, and are with neither. Not
    # `tf.repeat`, which makes a mask of all experts times the most rows.
    ends_E = tf.cumsum(counts_E)
    expert_A = tf.searchsorted(ends_E, tf.range(ends_E[-1]), side="right")
    is_few_A = tf.gather(has_few_E, expert_A)
    place_few, place_many = (
        tf.cast(tf.where(chosen)[:, 0], tf.int32)
        for chosen in (is_few_A, ~is_few_A)
    )
    weights_few, weights_many = zip(*map(_for_two, weights), strict=True)
    outputs = [
        _batched(tf.gather(rows, place_few), few_E, weights_few, activation),
        feed_forward_segments(
            tf.gather(rows, place_many),
            many_E,
            weights_many,
            activation,
            recompute,
            sparse_gradients=True,
        ),
    ]
    return tf.scatter_nd(
        tf.concat([place_few, place_many], 0)[:, None],
        tf.concat(outputs, 0),
        [tf.shape(rows)[0], outputs[0].shape[-1]],
    )


def _batched(rows, counts_E, weights, activation):
    """The experts with few rows, whose rows lie one after the other."""
    busy_B = tf.cast(tf.where(counts_E > 0)[:, 0], tf.int32)
    counts_B = tf.gather(counts_E, busy_B)
    inputs_BCD = tf.RaggedTensor.from_row_lengths(
        rows, counts_B, validate=False
    ).to_tensor()
    own = [_slices_of(weight, busy_B) for weight in weights]
    outputs_BCD = feed_forward_batches(inputs_BCD, own, activation)
    return tf.boolean_mask(
        outputs_BCD, tf.sequence_mask(counts_B, tf.shape(inputs_BCD)[1])
    )


def _for_two(weight):
    """A weight twice, for experts with few rows and for those with many.

    No expert is in both gradients: they are joined without a sum.
    """

    @custom_gradient
    def run(weight):
        def backward(few, many):
            return ExpertSlices(
                tf.concat([few.values, many.values], 0),
                tf.concat([few.indices, many.indices], 0),
                few.dense_shape,
            )

        return (weight, weight), backward

    return run(weight)


def _slices_of(weight, busy_B):
    """`tf.gather`, whose gradient says that no expert comes twice."""

    @custom_gradient
    def run(weight):
        def backward(d_slices):
            # Copied into the graph of the gradient, whose result it is.
            busy = tf.identity(busy_B)
            return ExpertSlices(d_slices, busy, tf.shape(weight))

        return tf.gather(weight, busy_B), backward

    return run(weight)
