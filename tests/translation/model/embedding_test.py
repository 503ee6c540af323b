"""The table of subwords: look-up, scores, and what one table shares."""

import keras
import numpy as np

from translation.model.embedding import SubwordEmbedding

# V = 3, D = 4: looked-up rows are multiplied by sqrt(4) = 2.
TABLE = np.array([[1, 2, 0, 0], [3, 4, 0, 0], [5, 6, 0, 0]], "float32")


def _table(**kwargs):
    layer = SubwordEmbedding(vocab_size=3, depth=4, **kwargs)
    layer(np.array([0]))
    layer.table.assign(TABLE)
    return layer


def test_looks_up_rows_times_the_root_of_the_depth():
    vectors = _table()(np.array([[2, 0, 2, 1]]))
    expected = [[[10, 12], [2, 4], [10, 12], [6, 8]]]
    np.testing.assert_array_equal(vectors[..., :2], expected)


def test_vectors_begin_with_unit_variance():
    layer = SubwordEmbedding(vocab_size=500, depth=64)
    vectors = layer(np.arange(500))
    np.testing.assert_allclose(np.var(vectors), 1.0, rtol=0.05)


def test_ids_may_have_any_shape():
    assert _table()(np.array([1, 2])).shape == (2, 4)
    assert _table().compute_output_shape((7, 5)) == (7, 5, 4)


def test_logits_are_products_with_the_rows_and_a_bias():
    # [10, 1] . [1, 2] = 12, . [3, 4] = 34, . [5, 6] = 56
    layer = _table(scores=True)
    layer.bias.assign([0.0, 0.5, -1.0])
    logits = layer.logits(np.array([[10.0, 1.0, 0.0, 0.0]], "float32"))
    np.testing.assert_allclose(logits, [[12.0, 34.5, 55.0]])


def test_look_up_and_logits_share_one_kernel():
    layer = _table(scores=True)
    assert [weight.name for weight in layer.weights] == ["table", "bias"]
    layer.table.assign(2 * TABLE)
    np.testing.assert_array_equal(layer(np.array([1])), [[12, 16, 0, 0]])
    logits = layer.logits(np.array([[1.0, 0.0, 0.0, 0.0]], "float32"))
    np.testing.assert_array_equal(logits, [[2, 6, 10]])


def test_table_that_does_not_score_has_no_bias():
    assert [weight.name for weight in _table().weights] == ["table"]


def test_dropout_is_on_vectors_in_training_and_never_on_logits():
    layer = _table(dropout=0.5, scores=True)
    ids = np.ones((50, 1), "int32")
    np.testing.assert_array_equal(layer(ids)[0], [[6, 8, 0, 0]])
    dropped = np.array(layer(ids, training=True)).reshape(-1, 4)
    assert set(dropped[:, 0]) == {0.0, 12.0}  # 6 / (1 - 0.5)
    assert set(dropped[:, 1]) == {0.0, 16.0}
    logits = layer.logits(np.array([[1.0, 0.0, 0.0, 0.0]], "float32"))
    np.testing.assert_array_equal(logits, [[1, 3, 5]])


def test_mixed_bfloat16_gives_bfloat16_vectors_and_float32_logits():
    layer = _table(scores=True, dtype="mixed_bfloat16")
    vectors = layer(np.array([1]))
    assert layer.table.dtype == "float32"
    assert keras.backend.standardize_dtype(vectors.dtype) == "bfloat16"
    logits = layer.logits(vectors)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    # [6, 8] . [1, 2], [3, 4], [5, 6]: small integers are exact in bfloat16.
    np.testing.assert_array_equal(logits, [[22, 50, 78]])


def test_float64_stays_float64():
    logits = _table(scores=True, dtype="float64").logits(np.ones((1, 4)))
    assert keras.backend.standardize_dtype(logits.dtype) == "float64"


def test_config_makes_the_same_table():
    layer = _table(dropout=0.2, scores=True, name="table_of_words")
    stored = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(stored)  # built as well
    assert again.get_config() == layer.get_config()
    again.set_weights(layer.get_weights())
    x = np.array([[1.0, 2.0, 3.0, 4.0]], "float32")
    np.testing.assert_array_equal(again.logits(x), layer.logits(x))
