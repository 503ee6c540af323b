"""Layouts of rows, against loops."""

import numpy as np
import tensorflow as tf

from translation.search.beam_rows import (
    from_slots,
    next_rows,
    parent_rows,
    rows_for,
    to_slots,
)


class TestRows:
    COUNTS = [2, 0, 3, 1]

    def test_rows_of_a_sentence_are_neighbours(self):
        rows = rows_for(tf.constant(self.COUNTS))
        assert rows.sentence.numpy().tolist() == [0, 0, 2, 2, 2, 3]
        assert rows.slot.numpy().tolist() == [0, 1, 0, 1, 2, 0]
        assert rows.first.numpy().tolist() == [0, 2, 2, 5]

    def test_slots_without_a_row_are_filled(self):
        rows = rows_for(tf.constant(self.COUNTS))
        values = tf.reshape(tf.range(1, 13), [6, 2])
        slots = to_slots(rows, values, width=3, fill=-1).numpy()
        no = [-1, -1]
        assert slots.tolist() == [
            [[1, 2], [3, 4], no],
            [no, no, no],
            [[5, 6], [7, 8], [9, 10]],
            [[11, 12], no, no],
        ]
        # And back, for the rows that there are.
        back = from_slots(rows, tf.constant(slots[..., 1]))
        assert back.numpy().tolist() == [2, 4, 6, 8, 10, 12]

    def test_a_layout_stays_while_most_rows_are_in_use(self):
        rows = rows_for(tf.fill([10], 4))
        memory = {"of": rows.sentence}
        open_B = tf.constant([4, 4, 4, 4, 4, 4, 4, 3, 3, 1])  # 35 of 40
        kept, kept_memory = next_rows(rows, open_B, memory)
        np.testing.assert_array_equal(kept.count, rows.count)
        np.testing.assert_array_equal(kept_memory["of"], rows.sentence)

    def test_a_new_layout_takes_the_memory_along(self):
        rows = rows_for(tf.constant([1, 1, 1]))
        memory = [rows.sentence * 10]
        # More rows for the beams after the first step; then few are left.
        rows, memory = next_rows(rows, tf.constant([3, 0, 2]), memory)
        assert memory[0].numpy().tolist() == [0, 0, 0, 20, 20]
        rows, memory = next_rows(rows, tf.constant([0, 0, 1]), memory)
        assert memory[0].numpy().tolist() == [20]
        rows, memory = next_rows(rows, tf.constant([0, 0, 0]), memory)
        assert rows.sentence.shape == memory[0].shape == (0,)

    def test_rows_continue_the_rows_of_their_parents(self):
        old = rows_for(tf.constant([2, 3]))
        new = rows_for(tf.constant([2, 2]))
        parent_BW = tf.constant([[1, 1, 0], [2, 0, 1]])
        # Sentence 0 begins at row 0, sentence 1 at row 2.
        rows = parent_rows(new, old, parent_BW)
        assert rows.numpy().tolist() == [1, 1, 4, 2]

    def test_an_idle_row_continues_a_row_of_its_sentence(self):
        rows = rows_for(tf.constant([2, 2]))
        # Slot 1 of sentence 0 holds a finished hypothesis, once in slot 2.
        parent_BW = tf.constant([[0, 2, 0], [1, 0, 0]])
        assert parent_rows(rows, rows, parent_BW).numpy().tolist() == [
            0,
            1,
            3,
            2,
        ]
