"""Where the batches of a run come from, and which rows a replica takes."""

import tensorflow as tf

from moe_keras.placement.replicas import rows_of_replica


class SharedBatches:
    """Batches that every worker makes in full; each replica takes some rows.

    A batch is the same for any number of replicas, and the place in the data
    is one, so that a run may go on with another number of them. It costs each
    worker the making of all batches. Another source has the same three
    attributes and `__next__`.

    Args:
        batches: Batches without end, nests of tensors `(B, ...)`: a
            `tf.data.Dataset`, or an iterator that can be saved (a
            `tf.data.Iterator` or `tf.train.experimental.PythonState`).

    Attributes:
        state: What a checkpoint keeps, so that the place is not lost.
        spec: Nest of `tf.TensorSpec` that fits every batch, or None.
        rows_of_replica: Function of a batch, for the graph of a step: the
            rows that this replica works on.

    Raises:
        ValueError: if `batches` forget their place.

    Example:

    >>> batches = SharedBatches(tf.data.Dataset.range(3).repeat().batch(2))
    >>> next(batches).numpy().tolist(), batches.spec.shape
    ([0, 1], TensorShape([None]))
    """

    def __init__(self, batches):
        self._iterator = iter(batches)
        kinds = (tf.data.Iterator, tf.train.experimental.PythonState)
        if not isinstance(self._iterator, kinds):
            raise ValueError(
                "`batches` must be a tf.data.Dataset, or an iterator that is "
                "a tf.train.experimental.PythonState: otherwise a resumed run "
                "would not know its place in the data. "
                f"Received: {type(self._iterator).__name__}"
            )
        self.state = self._iterator
        self.spec = getattr(self._iterator, "element_spec", None)
        self.rows_of_replica = rows_of_replica

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._iterator)
