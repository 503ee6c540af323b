"""Places of several workers, each in data of its own, in one checkpoint."""

import pytest
import tensorflow as tf

from trainers.engine.checkpoints.files import CheckpointError
from trainers.engine.own_batches import OwnBatches


class FakeWorkers:
    """One of two workers; the other has called `all_gather` already."""

    count = 2

    def __init__(self, index, said):
        self.index = index
        self.is_chief = index == 0
        self._said = said

    def all_gather(self, value):
        self._said[self.index] = value
        return [self._said.get(n) for n in range(self.count)]


def _two(folder, said):
    """Batches of both workers: numbers from 0, and from 100."""
    return [
        OwnBatches(
            tf.data.Dataset.range(100 * n, 100 * n + 50).shuffle(9, 1).batch(2),
            FakeWorkers(n, said),
            folder / "places",
            {"carried": tf.Variable(10.0 + n)},
        )
        for n in range(2)
    ]


def _gather(both):
    for batches in reversed(both):  # the chief last, which reads the files
        batches.state.gather()


def _numbers(batches, count=4):
    return [next(batches).numpy().tolist() for _ in range(count)]


def test_each_worker_finds_its_place_in_the_chiefs_checkpoint(tmp_path):
    both = _two(tmp_path, {})
    for batches, count in zip(both, (1, 3), strict=True):
        _numbers(batches, count)
    _gather(both)
    path = tf.train.Checkpoint(batches=both[0].state).write(
        str(tmp_path / "saved")
    )
    expected = [_numbers(batches) for batches in both]
    assert expected[0] != expected[1]
    for batches, numbers in zip(_two(tmp_path, {}), expected, strict=True):
        checkpoint = tf.train.Checkpoint(batches=batches.state)
        checkpoint.read(path).assert_existing_objects_matched()
        batches.state.scatter()
        assert _numbers(batches) == numbers


def test_what_stands_beside_the_place_comes_back_too(tmp_path):
    said, carried = {}, [tf.Variable(1.0), tf.Variable(2.0)]
    both = [
        OwnBatches(
            tf.data.Dataset.range(9),
            FakeWorkers(n, said),
            tmp_path,
            {"carried": carried[n]},
        )
        for n in range(2)
    ]
    _gather(both)
    both[1].state.places.assign(both[0].state.places)
    for variable in carried:
        variable.assign(0.0)
    for batches in both:
        batches.state.scatter()
    assert [float(variable) for variable in carried] == [1.0, 2.0]


def test_place_that_does_not_arrive_is_named(tmp_path):
    chief, other = _two(tmp_path, {})
    other.state.gather()
    (tmp_path / "places/worker-1").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="worker 1 .* did not arrive"):
        chief.state.gather()


def test_rows_are_all_of_the_workers_own(tmp_path):
    chief, _ = _two(tmp_path, {})
    batch = {"ids": tf.ones((3, 2)), "begins": tf.constant(True)}
    assert chief.rows_of_replica(batch)["ids"].shape == (3, 2)
