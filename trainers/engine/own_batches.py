"""Batches that are made of the rows of several workers, each its own.

Each worker reads data of its own and makes no batches of others. So each has a
place of its own in the data, which the checkpoint of the chief has to hold.
"""

import hashlib
import pathlib
import tempfile

import tensorflow as tf

from moe_keras.placement.replicas import num_replicas, replica_index
from trainers.engine.batches import SharedBatches
from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.folder.files import replace_file


class OwnBatches(SharedBatches):
    """The rows of one worker; a batch is those of all workers together.

    Replicas of one worker share its rows.

    Args:
        batches: as of `SharedBatches`: rows of this worker alone.
        workers: `Workers`.
        folder: `pathlib.Path` of a folder that all workers have. Their places
            in the data travel through it when a checkpoint is written.
        beside: dict of further trackable objects that belong to the place, such
            as what rows carry from batch to batch.
    """

    def __init__(self, batches, workers, folder, beside=None):
        super().__init__(batches)
        place = tf.train.Checkpoint(batches=self.state, **(beside or {}))
        self.state = PlacesOfWorkers(place, workers, folder)
        self._workers = workers.count
        self.rows_of_replica = self._rows_of_replica

    def _rows_of_replica(self, batch):
        count = num_replicas() // self._workers
        if count <= 1:
            return batch
        index = replica_index() % count

        def rows(x):
            if not x.shape.rank:
                return x
            size = tf.shape(x)[0]
            return x[size * index // count : size * (index + 1) // count]

        return tf.nest.map_structure(rows, batch)


class PlacesOfWorkers(tf.Module):
    """The places of all workers in their data, as one checkpoint has them.

    Before a checkpoint is written all workers call `gather`, after one is read
    `scatter`: see `TrainingState`.

    Args:
        place: `tf.train.Checkpoint` of this worker's place.
        workers: `Workers`.
        folder: `pathlib.Path` of a folder that all workers have.

    Example, of a worker that is alone:

    >>> from moe_keras.parallel.processes.workers import Workers
    >>> numbers = iter(tf.data.Dataset.range(9))
    >>> place = tf.train.Checkpoint(numbers=numbers)
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> places = PlacesOfWorkers(place, Workers(), folder)
    >>> _ = next(numbers)
    >>> places.gather()
    >>> [int(next(numbers)) for _ in range(3)]
    [1, 2, 3]
    >>> places.scatter()
    >>> int(next(numbers))
    1
    """

    def __init__(self, place, workers, folder):
        super().__init__(name="places")
        # Methods, for as an attribute the place would be saved as well.
        self._write, self._read = place.write, place.read
        self._gather = workers.all_gather
        self._index, self._count = workers.index, workers.count
        self._keeps = workers.is_chief
        self._folder = folder
        self.places = tf.Variable(self._count * [b""], trainable=False)

    def gather(self):
        """Lets the chief have the places of all; all workers call it.

        Raises:
            CheckpointError: if a place does not arrive.
        """
        mine = self._as_bytes()
        path = self._path(self._index)
        if not self._keeps:
            replace_file(path, lambda aside: aside.write_bytes(mine))
        digests = self._gather(_digest(mine))
        if not self._keeps:
            return
        found = [mine]
        for index in range(1, self._count):
            path = self._path(index)
            found.append(path.read_bytes() if path.is_file() else b"")
            if _digest(found[-1]) != digests[index]:
                raise CheckpointError(
                    f"The place of worker {index} in its data did not arrive "
                    f"in {path}: all workers must have the same folder under "
                    "this path."
                )
        self.places.assign(found)

    def scatter(self):
        """Goes to the place that this worker has in what was restored."""
        data = self.places[self._index].numpy()
        length = int.from_bytes(data[:8], "big")
        with tempfile.TemporaryDirectory() as folder:
            prefix = pathlib.Path(folder) / "place"
            _index_file(prefix).write_bytes(data[8 : 8 + length])
            _data_file(prefix).write_bytes(data[8 + length :])
            status = self._read(str(prefix)).expect_partial()
            status.assert_existing_objects_matched()

    def _as_bytes(self):
        """The two files of a checkpoint, the length of the first in front."""
        with tempfile.TemporaryDirectory() as folder:
            prefix = pathlib.Path(folder) / "place"
            self._write(str(prefix))
            index = _index_file(prefix).read_bytes()
            data = _data_file(prefix).read_bytes()
        return len(index).to_bytes(8, "big") + index + data

    def _path(self, index):
        return self._folder / f"worker-{index}"


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def _index_file(prefix):
    return prefix.with_name(f"{prefix.name}.index")


def _data_file(prefix):
    return prefix.with_name(f"{prefix.name}.data-00000-of-00001")
