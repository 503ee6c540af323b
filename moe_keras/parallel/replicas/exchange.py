"""All-to-all between the replicas of `tf.distribute`, with its gradient.

R: replicas    C: rows for each replica
"""

import itertools

import tensorflow as tf
from tensorflow.python.distribute import distribute_utils

from moe_keras.gradients.custom_gradient import custom_gradient
from moe_keras.placement.replicas import num_replicas

# TensorFlow's strategies count their groups from 1 on.
_GROUP = 71_000
_MOST_SITES = 4096
_sites = itertools.count(1)


def all_to_all(rows):
    """Send block r to replica r and receive its block instead.

    It is its own gradient.

    Args:
        rows: Tensor `(R C, ...)` on each replica: C rows for replica 0, then
            C for replica 1, and so on. C is the same on all of them.

    Returns:
        Tensor `(R C, ...)`: C rows from replica 0, then C from replica 1.
    """
    if not rows.dtype.is_floating:
        return _all_to_all(rows)

    @custom_gradient
    def run(rows):
        return _all_to_all(rows), _all_to_all

    return run(rows)


def _all_to_all(rows):
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tf.identity(rows)
    shape = rows.shape
    if isinstance(context.strategy, tf.distribute.MirroredStrategy):
        # `identity`: a tensor that replicas share would be sent only once.
        received = context.merge_call(
            _between_devices, args=(tf.identity(rows),)
        )
    else:
        received = _between_workers(rows)
    received.set_shape(shape)
    return received


def _between_devices(strategy, rows):
    """Copy the blocks between the devices of one process."""
    # Cut the rows of each device into a block for every device; device r then
    # puts together the r-th block of each.
    devices = strategy.extended.worker_devices
    parts = []
    for device, sent in zip(
        devices, strategy.experimental_local_results(rows), strict=True
    ):
        # Pin each split, or all blocks are sent through the current device.
        with tf.device(device):
            parts.append(tf.split(sent, len(devices)))
    received = []
    for index, device in enumerate(devices):
        with tf.device(device):
            received.append(tf.concat([sent[index] for sent in parts], 0))
    return distribute_utils.regroup(tuple(received))


def _between_workers(rows):
    number = num_replicas()
    site = next(_sites)  # in all workers alike: they build one graph
    if site >= _MOST_SITES:
        raise RuntimeError(
            f"This program has built {_MOST_SITES} exchanges between workers, "
            "more than TensorFlow can tell apart here: let batches have fewer "
            "shapes, or the step fewer graphs."
        )
    places = tf.shape(rows)[0] // number
    parts = tf.reshape(rows, tf.concat([[number, -1], tf.shape(rows)[1:]], 0))

    def exchange(parts):
        return tf.raw_ops.CollectiveAllToAllV2(
            input=parts,
            group_size=number,
            group_key=_GROUP,
            # TensorFlow keeps the first shape that it sees under a key.
            instance_key=_MOST_SITES * places + site,
            ordering_token=[],
            is_stateless=True,
        )

    here = len(tf.distribute.get_strategy().extended.worker_devices)
    received = by_names(exchange, parts, order_of_names(number, here))
    return tf.reshape(received, tf.shape(rows))


def order_of_names(number, each=1):
    """Order replicas as TensorFlow's all-to-all does, by device name.

    Args:
        number: int. R.
        each: int. Replicas of each worker.

    Returns:
        List of int. In the name of a device a 10 comes before a 2.

    Example:

    >>> order_of_names(12)
    [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def name(replica):
        worker, device = divmod(replica, each)
        return f"/task:{worker}/device:{device}"

    return sorted(range(number), key=name)


def by_names(exchange, parts, order):
    """Exchange blocks in the order of replicas by an exchange in name order.

    Args:
        exchange: Function of parts, from part p for the replica with the p-th
            name to part p from it.
        parts: Tensor `(R, ...)`, a part for each replica.
        order: List of the replicas, sorted by names.

    Returns:
        Tensor `(R, ...)`, a part from each replica.
    """
    # Bring the parts into the order of names, exchange, and bring what comes
    # back into the order of replicas again.
    place = [order.index(replica) for replica in range(len(order))]
    return tf.gather(exchange(tf.gather(parts, order)), place)
