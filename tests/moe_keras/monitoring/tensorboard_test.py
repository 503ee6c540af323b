"""Colours of the heat map, and when it is drawn."""

import numpy as np
import tensorflow as tf

from moe_keras.monitoring import RoutingSummaries, make_window
from moe_keras.monitoring.tensorboard import IMAGE_EVERY, heat_map, shrink


def test_heat_map_has_a_row_an_expert_and_a_column_a_window():
    pixels = heat_map(np.array([[1.0, 2.0], [0.0, 9.0], [1.5, 0.5]]))
    rows, columns, _ = pixels.shape
    cells = pixels[rows // 6 :: rows // 3, columns // 4 :: columns // 2]
    assert cells.tolist() == [
        [[255, 255, 255], [255, 0, 0]],
        [[0, 0, 255], [255, 0, 0]],  # beyond twice the mean: full red
        [[255, 128, 128], [128, 128, 255]],
    ]


def test_shrinking_averages_neighbours():
    values = np.arange(12.0).reshape(2, 6)
    assert shrink(values, 6).tolist() == values.tolist()
    # Pairs of columns first (or last): 0.5, 2.5, 4.5 and 6.5, 8.5, 10.5.
    assert shrink(values, 3).tolist() == [[0.5, 2.5, 4.5], [6.5, 8.5, 10.5]]
    # Seven into groups of 3, 3 and the one that is left.
    assert shrink(np.arange(7.0)[None], 3).tolist() == [[1.0, 4.0, 6.0]]


def test_what_the_gate_tells_is_a_scalar(tmp_path):
    window = make_window(
        "moe", 7, 1, 4, [4, 2, 2, 0], gate_metrics={"mass": 2.0}
    )
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        RoutingSummaries().write([window])
    (file,) = tmp_path.glob("events*")
    (value,) = (
        value
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
        if value.tag == "moe/gate/mass"
    )
    assert tf.make_ndarray(value.tensor) == 0.5  # a mean over 4 tokens


def test_heat_map_comes_now_and_then(tmp_path):
    summaries = RoutingSummaries()
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        for step in range(1, IMAGE_EVERY + 3):
            summaries.write([make_window("moe", step, 1, 4, [4, 2, 2, 0])])
    images = []
    for file in tmp_path.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            images += [
                event.step
                for value in event.summary.value
                if value.tag == "moe/load_over_time"
            ]
    assert images == [1, 1 + IMAGE_EVERY]
