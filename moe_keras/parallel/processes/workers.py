"""The processes that train together, for the training loop."""

import contextlib
import json

import tensorflow as tf

from moe_keras.parallel.processes.heartbeat import Heartbeat
from moe_keras.placement.placement import current_placement
from moe_keras.placement.replicas import replica_index, sum_over_replicas

_LENGTH = 512  # bytes of a message that travel at once


class Workers:
    """This process among those that train together; by default it is alone.

    All of them run the same program, and each has its rows of a batch. One of
    them, the chief, also evaluates and writes files.
    They decide together: what may differ between them, such as the time or a
    signal, is gathered by `all_gather` first.

    As a context manager it watches the other processes: see `Heartbeat`.

    Args:
        strategy: `tf.distribute.Strategy`; by default the one in force.
        cluster: `Cluster` of its processes, or None where there is only one.
        placement: `Placement` of experts; by default the one in force.
        helpers: `Cluster` of processes that lend their devices to this one,
            or None. They are watched as well.

    Attributes:
        strategy: The strategy.
        is_chief: bool. Whether this process is the chief.
        count: int. Number of processes.
        index: int. Which of them this process is; 0 is the chief.

    Example:

    >>> with Workers() as workers:
    ...     workers.is_chief, workers.all_gather({"seconds": 1.5})
    (True, [{'seconds': 1.5}])
    """

    def __init__(
        self, strategy=None, cluster=None, placement=None, helpers=None
    ):
        self.strategy = strategy or tf.distribute.get_strategy()
        self._placement = placement or current_placement()
        self._cluster = cluster
        self.index = cluster.index if cluster else 0
        self.count = len(cluster.addresses) if cluster else 1
        self.is_chief = self.index == 0
        watched = helpers or (cluster if self.count > 1 else None)
        self._heartbeat = Heartbeat(watched) if watched else None
        self._sum = tf.function(
            self._sum_eagerly, reduce_retracing=True, autograph=False
        )

    @contextlib.contextmanager
    def scope(self):
        """Context manager: a model built within it is trained by all."""
        with self.strategy.scope(), self._placement.scope():
            yield

    def all_gather(self, value):
        """Gather a value from every worker; all must call at the same point.

        Args:
            value: Anything that JSON can hold; NaN and infinities too.

        Returns:
            List of the workers' values, the chief's first.
        """
        if self.count == 1:
            return [value]
        text = json.dumps(value).encode()
        lengths, rows = self._exchange(text, _LENGTH)
        if max(lengths) > _LENGTH:
            _, rows = self._exchange(text, max(lengths))
        return [
            json.loads(bytes(row[:length]))
            for length, row in zip(lengths, rows, strict=True)
        ]

    def _exchange(self, text, size):
        numbers = [len(text), *text[:size]]
        numbers += [0] * (size + 1 - len(numbers))
        table = self._sum(tf.constant(numbers, tf.int32)).numpy()
        return table[:, 0].tolist(), table[:, 1:].astype("uint8")

    def _sum_eagerly(self, numbers):
        before, behind = self.index, self.count - 1 - self.index
        table = tf.pad(numbers[tf.newaxis], [[before, behind], [0, 0]])

        def of_replica():
            # One replica of each worker sends, the others add zeros.
            per_worker = self.strategy.num_replicas_in_sync // self.count
            speaks = tf.equal(replica_index() % per_worker, 0)
            return sum_over_replicas(tf.where(speaks, table, 0))

        sums = self.strategy.run(of_replica)
        return self.strategy.experimental_local_results(sums)[0]

    def __enter__(self):
        if self._heartbeat:
            self._heartbeat.start()
        return self

    def __exit__(self, kind, error, _):
        """Stop watching, or raise an error that names a lost worker.

        Raises:
            WorkerLost: for an error of TensorFlow, if a worker has died.
        """
        if not self._heartbeat:
            return
        if isinstance(error, tf.errors.OpError):
            lost = self._heartbeat.verdict()
            self._heartbeat.stop()
            if lost:
                raise lost from error
        self._heartbeat.stop()
        # TensorFlow's own health check would report each worker that leaves.
        watch = "_check_health_thread_should_stop"
        if hasattr(self.strategy.extended, watch):
            getattr(self.strategy.extended, watch).set()
        if kind is None:
            self.all_gather(None)  # nobody leaves while another still watches
