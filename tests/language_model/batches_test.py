"""Batches of running text and of lines, against plain loops."""

import numpy as np
import pytest
import tensorflow as tf

from language_model.batches import (
    BatchOptions,
    line_batches,
    running_batches,
)
from language_model.words import WordVocabulary

VOCABULARY = WordVocabulary({"a": 3, "b": 2, "c": 1})  # 4, 5, 6
LINES = ["a b", "c", "", "b b b a", "a", "c c a b a b", "b"]


def _dataset(lines=LINES):
    return tf.data.Dataset.from_tensor_slices(lines)


def _flat():
    """What the model reads and what it is asked for, id by id."""
    ids = [row for row in VOCABULARY.encode(LINES) if row]
    return (
        sum(([1, *row] for row in ids), []),
        sum(([*row, 2] for row in ids), []),
    )


def test_row_goes_on_in_the_next_batch_until_the_window_ends():
    options = BatchOptions(rows=2, time_steps=2, window=2)
    batches = list(running_batches(_dataset(), VOCABULARY, options))
    assert [bool(b["begins"]) for b in batches] == [True, False, True, False]
    for name, expected in zip(("ids", "targets"), _flat(), strict=True):
        windows = np.concatenate([b[name] for b in batches], 1)
        # A window is 8 ids: 4 of row 0, then 4 of row 1.
        found = [
            windows[row, 4 * w : 4 * w + 4] for w in (0, 1) for row in (0, 1)
        ]
        assert np.concatenate(found).tolist() == expected[:16]


def test_what_fills_no_window_is_left_out():
    options = BatchOptions(rows=3, time_steps=5, window=2)
    assert not list(running_batches(_dataset(), VOCABULARY, options))
    assert len(list(running_batches(_dataset().repeat(2), VOCABULARY, options)))


def test_every_line_stands_once_in_its_own_row():
    options = BatchOptions(rows=2, time_steps=20, by_lines=True)
    rows = [
        [id for id in row if id]
        for batch in line_batches(_dataset(), VOCABULARY, options)
        for row in batch["targets"].numpy().tolist()
    ]
    expected = [[*row, 2] for row in VOCABULARY.encode(LINES) if row]
    assert sorted(rows) == sorted(expected)


def test_the_model_reads_what_it_was_asked_for_one_step_before():
    options = BatchOptions(rows=4, time_steps=20)
    for batch in line_batches(_dataset(), VOCABULARY, options):
        for ids, targets in zip(batch["ids"], batch["targets"], strict=True):
            length = int(tf.math.count_nonzero(targets))
            assert ids.numpy()[:length].tolist() == [
                1,
                *targets.numpy()[: length - 1],
            ]
            assert not ids.numpy()[length:].any()


def test_long_lines_are_cut_and_end():
    options = BatchOptions(rows=1, time_steps=3)
    (batch,) = line_batches(_dataset(["a b c a b"]), VOCABULARY, options)
    assert batch["targets"].numpy().tolist() == [[4, 5, 2]]


def test_batches_of_lines_have_about_the_ids_of_a_batch():
    options = BatchOptions(rows=4, time_steps=16)
    lines = _dataset(["a", "a b c a b c a b c a"]).repeat(100)
    sizes = {
        batch["ids"].shape for batch in line_batches(lines, VOCABULARY, options)
    }
    assert sizes <= {(8, 2), (4, 11)} | {(n, 2) for n in range(8)} | {
        (n, 11) for n in range(4)
    }


def test_iterator_goes_on_where_it_was_saved(tmp_path):
    options = BatchOptions(rows=2, time_steps=2, window=2)
    batches = running_batches(_dataset().repeat(), VOCABULARY, options)
    iterator = iter(batches)
    for _ in range(3):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).save(tmp_path / "state")
    expected = [next(iterator)["ids"].numpy() for _ in range(4)]
    other = iter(batches)
    tf.train.Checkpoint(iterator=other).restore(path)
    for ids in expected:
        np.testing.assert_array_equal(next(other)["ids"], ids)


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="`time_steps` must be at least 1"):
        BatchOptions(time_steps=0)
