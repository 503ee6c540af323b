"""Gradients of some rows give the same steps as those of all rows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import FactoredAdam
from moe_keras.gradients.slices import ExpertSlices
from trainers.engine.gradients import GradientSum
from trainers.engine.optimizer import FusedAdam
from trainers.engine.train_step import TrainStep

ROWS = 7
# Row 6 is never read; 1 is read twice in a batch, and in two batches.
BATCHES = [
    (tf.constant(ids), tf.constant(targets))
    for ids, targets in (
        ([1, 4, 1, 0], [0.5, -1.0, 2.0, 0.1]),
        ([5, 1, 3], [1.0, 1.5, -0.5]),
    )
]


class Table(keras.layers.Layer):
    """Rows of a table: read one by one, or as a product with one-hots."""

    def __init__(self, is_dense, depth=2):
        super().__init__(name="table")
        self._is_dense = is_dense
        self._depth = depth

    def build(self, _):
        self.table = self.add_weight(
            shape=(ROWS, self._depth, 3), initializer="glorot_uniform"
        )

    def call(self, ids):
        if not self._is_dense:
            return tf.gather(self.table, ids)
        return tf.tensordot(tf.one_hot(ids, ROWS), self.table, 1)


def table_model(is_dense):
    keras.utils.set_random_seed(1)
    layers = [Table(is_dense), keras.layers.Flatten(), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((), dtype="int32"), *layers])


def squared_error(model, batch):
    ids, targets = batch
    error = model(ids, training=True)[:, 0] - targets
    return tf.reduce_sum(error**2), tf.cast(tf.size(error), tf.float32)


def make_step(is_dense, optimizer, **kwargs):
    model = table_model(is_dense)
    optimizer.build(model.trainable_variables)
    kwargs = {"clip_norm": 0.1, **kwargs}
    return model, TrainStep(model, squared_error, optimizer, **kwargs)


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "keras_adam": lambda: keras.optimizers.Adam(0.1),
    "fused_adam": lambda: FusedAdam(0.1),
    "factored_adam": lambda: FactoredAdam(0.1),
    "lazy_factored_adam": lambda: FactoredAdam(0.1, lazy=True),
}


def kinds_of(step, batches):
    """Types of the gradients that reach the optimizer."""
    seen = []
    step._optimizer.apply = lambda gradients, *_: seen.extend(gradients)
    step(iter(batches))
    return [type(gradient) for gradient in seen]


@pytest.mark.parametrize("accumulate_steps", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_a_dense_gradient(name, accumulate_steps):
    results, tables = [], []
    for is_dense in (False, True):
        model, step = make_step(
            is_dense,
            OPTIMIZERS[name](),
            accumulate_steps=accumulate_steps,
            loss_scale=tf.Variable(64.0),
        )
        batches = iter(BATCHES * 3)
        results.append([step(batches)[0] for _ in range(3)])
        tables.append(model.weights[0].numpy())
    for ours, dense in zip(*results, strict=True):
        assert ours.is_finite and dense.norm > 0.1  # it is cut
        np.testing.assert_allclose(ours[:3], dense[:3], rtol=1e-5)
    # Adam divides small gradients by their size, and rounding with them.
    np.testing.assert_allclose(*tables, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_optimizer_is_given_the_rows_that_were_read(accumulate_steps):
    _, step = make_step(
        False,
        keras.optimizers.SGD(0.1),
        accumulate_steps=accumulate_steps,
    )
    table, *others = kinds_of(step, BATCHES)
    assert table is ExpertSlices
    assert all(kind is not ExpertSlices for kind in others)


@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_step_that_is_not_finite_moves_no_row(accumulate_steps):
    model, step = make_step(
        False, FusedAdam(0.1), accumulate_steps=accumulate_steps
    )
    before = model.weights[0].numpy()
    ids, targets = BATCHES[0]
    bad = ids, tf.where(ids == 4, np.float32("nan"), targets)
    result, _ = step(iter([bad, BATCHES[1]]))
    assert not result.is_finite
    np.testing.assert_array_equal(model.weights[0], before)
    # Nothing of it is left in the sums.
    result, _ = step(iter(BATCHES))
    assert result.is_finite and np.any(model.weights[0] != before)


def test_rows_that_no_batch_touched_are_not_in_the_sum():
    total = GradientSum(keras.Variable(tf.zeros((ROWS, 2))))
    total.add(tf.IndexedSlices(tf.ones((2, 2)), [5, 1], [ROWS, 2]))
    taken = total.take()
    assert taken.indices.numpy().tolist() == [1, 5]
    assert total.take().indices.numpy().tolist() == []


def test_tensor_after_slices_is_summed_with_them():
    total = GradientSum(keras.Variable(tf.zeros((3, 1))))
    total.add(tf.IndexedSlices([[2.0]], [1], [3, 1]))
    total.add(tf.constant([[0.5], [0.5], [0.5]]))
    taken = tf.convert_to_tensor(total.take())
    np.testing.assert_array_equal(taken, [[0.5], [2.5], [0.5]])


@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_replicas_agree_with_one_device(two_replicas, accumulate_steps):
    tables = []
    for strategy in (two_replicas, tf.distribute.get_strategy()):
        with strategy.scope():
            model = table_model(is_dense=False)
            optimizer = FusedAdam(0.1)
            optimizer.build(model.trainable_variables)
        step = TrainStep(model, squared_error, optimizer, 0.3, accumulate_steps)
        for _ in range(2):
            step(iter(BATCHES))
        tables.append(model.weights[0].numpy())
    np.testing.assert_allclose(*tables, rtol=1e-4, atol=1e-5)


def test_keras_embedding_trains():
    keras.utils.set_random_seed(1)
    embedding = keras.layers.Embedding(ROWS, 4)
    model = keras.Sequential(
        [keras.Input((), dtype="int32"), embedding, keras.layers.Dense(1)]
    )
    optimizer = FusedAdam(0.1)
    optimizer.build(model.trainable_variables)
    step = TrainStep(model, squared_error, optimizer, 5.0)
    before = embedding.embeddings.numpy()
    losses = [step(iter(BATCHES))[0].loss for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
    moved = np.any(embedding.embeddings.numpy() != before, axis=1)
    assert moved.tolist() == [row in (0, 1, 4) for row in range(ROWS)]


def test_weight_without_a_gradient_is_named():
    class Unused(keras.layers.Layer):
        def build(self, _):
            self.add_weight(shape=(1,), name="idle")

        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((1,)), Unused(name="unused")])
    model.add(keras.layers.Dense(1))
    optimizer = FusedAdam(0.1)
    optimizer.build(model.trainable_variables)
    step = TrainStep(model, squared_error, optimizer, 1.0)
    with pytest.raises(ValueError, match="no gradient of .*unused/idle"):
        step(iter([(tf.ones((1, 1)), tf.ones(1))]))
