"""Regularizers of stacked weights: the sum of those of each expert."""

import keras
import tensorflow as tf


def of_each(regularizer, side_by_side):
    """Sum of a regularizer over all experts' kernels, each taken alone."""
    summed = (
        keras.regularizers.L1,
        keras.regularizers.L2,
        keras.regularizers.L1L2,
    )
    if isinstance(regularizer, summed):
        return regularizer  # a sum over all numbers anyhow

    def regularize(weight):
        kernels = tf.split(tf.convert_to_tensor(weight), side_by_side, axis=-1)
        losses = tf.map_fn(regularizer, tf.concat(kernels, 0))
        return tf.reduce_sum(losses)

    return regularize
