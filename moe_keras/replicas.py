"""Totals of the whole batch, where replicas share it out."""

import tensorflow as tf


def sum_over_replicas(totals):
    """Sums a tensor over the replicas of `tf.distribute`.

    CV squared, and any other loss that is not linear in the totals of a
    batch, has to see those of the whole batch: the mean of its replicas'
    values is another number. Gradients go through.

    Args:
        totals: Tensor, of one shape on all replicas.

    Returns:
        The sum on every replica; `totals` itself where there is only one.

    Example:

    >>> sum_over_replicas(tf.constant([1.0, 2.0])).numpy().tolist()
    [1.0, 2.0]
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return totals
    return context.all_reduce(tf.distribute.ReduceOp.SUM, totals)
