"""Replicas of `tf.distribute`: totals over them, and the rows of each.

With a single replica every function returns its argument.
"""

import tensorflow as tf

# Odd, so that modulo 2^32 no two replicas have one seed.
_STRIDE = 2654435761


def sum_over_replicas(totals):
    """Sum tensors over the replicas of `tf.distribute`.

    A loss that is not linear in the totals of a batch, such as CV squared,
    needs the totals of the whole batch: the mean of the replicas' losses is
    another number. Gradients go through.

    Args:
        totals: Tensor, of one shape on all replicas, or a list of such, which
            are sent together.

    Returns:
        The sums on every replica; `totals` itself where there is only one.

    Example:

    >>> sum_over_replicas(tf.constant([1.0, 2.0])).numpy().tolist()
    [1.0, 2.0]
    """
    if num_replicas() == 1:
        return totals
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, totals)


def num_replicas():
    """Number of replicas that share the batch of the current call.

    Outside of `strategy.run`, as where a model is built or called by hand, it
    is 1.

    >>> num_replicas()
    1
    """
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def replica_index():
    """Index of this replica among all, those of other processes included.

    >>> replica_index()
    0
    """
    if num_replicas() == 1:
        return 0
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def counted_once(loss):
    """Prepare a loss that is equal on all replicas for Keras' `add_loss`.

    Replicas of one process have one list of losses, which also holds those of
    the replicas that ran before. So the first replica adds the loss, and the
    others add a zero with the same gradient: the sum is right for all.

    Args:
        loss: Scalar tensor.

    Returns:
        Scalar tensor.

    Example:

    >>> float(counted_once(tf.constant(3.0)))
    3.0
    """
    if num_replicas() == 1:
        return loss
    strategy = tf.distribute.get_strategy()
    here = replica_index() % len(strategy.extended.worker_devices)
    return loss - tf.where(tf.equal(here, 0), 0.0, tf.stop_gradient(loss))


def gather_over_replicas(values):
    """Stack a tensor of every replica; without a gradient.

    Args:
        values: Tensor, of one shape on all replicas.

    Returns:
        Tensor `(R, ...)` on every replica, in the order of replicas.

    Example:

    >>> gather_over_replicas(tf.constant([1, 2])).numpy().tolist()
    [[1, 2]]
    """
    row = tf.stop_gradient(tf.convert_to_tensor(values))[tf.newaxis]
    before = replica_index()
    behind = num_replicas() - 1 - before
    rest = [[0, 0]] * (row.shape.rank - 1)
    return sum_over_replicas(tf.pad(row, [[before, behind], *rest]))


def rows_of_replica(batch):
    """Slice this replica's rows from a batch that all replicas hold.

    The slices are consecutive and differ by one row at most. If the batch has
    fewer rows than there are replicas, some replicas get none.

    Args:
        batch: Nest of tensors `(B, ...)`.

    Returns:
        The same nest with fewer rows. Their number is static if B is.

    Example:

    >>> rows_of_replica({"ids": tf.constant([[1], [2]])})["ids"].shape
    TensorShape([2, 1])
    """
    count = num_replicas()
    if count == 1:
        return batch
    index = replica_index()

    def own_rows(rows):
        size = rows.shape[0]
        if size is None:
            size = tf.shape(rows)[0]
        return rows[size * index // count : size * (index + 1) // count]

    return tf.nest.map_structure(own_rows, batch)


def spread_random_states(model):
    """Give each replica random numbers of its own, for dropout and noise.

    Replicas have copies of the seed generators' states and would all draw the
    same numbers. The first replica keeps its states, and a checkpoint holds
    those. Calling it again, as after restoring, gives the same states.

    Args:
        model: A built Keras model.
    """
    strategy = model.distribute_strategy
    states = [
        variable.value
        for variable in model.variables
        if variable.path.endswith("seed_generator_state")
    ]
    if strategy.num_replicas_in_sync == 1 or not states:
        return

    def spread():
        index = replica_index()
        mine = tf.cast(tf.stack(states), tf.int64)
        first = sum_over_replicas(tf.where(tf.equal(index, 0), mine, 0))
        offset = tf.cast(index, tf.int64) * _STRIDE
        own = (first + tf.stack([offset, 0])) % 2**32
        for state, value in zip(states, tf.unstack(own), strict=True):
            state.assign(tf.cast(value, state.dtype))

    tf.function(lambda: strategy.run(spread), autograph=False)()
