"""What crosses between devices, counted; the pictures of layouts, drawn."""

import importlib
import pathlib
import sys
import xml.etree.ElementTree

import pytest
import tensorflow as tf

import moe_keras

ROOT = pathlib.Path(moe_keras.__file__).parents[1]


@pytest.fixture(scope="module")
def load():
    """Imports a program of benchmarks/ and what it imports from there."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "benchmarks"))


def test_each_tensor_counts_once_for_each_device_that_needs_it(load):
    with tf.device("CPU:1"):
        kernel = tf.Variable(tf.ones((3, 5)))

    @tf.function
    def step(x):
        with tf.device("CPU:1"):
            y = tf.matmul(x, kernel)
            first, _ = tf.split(y, 2)
            z = tf.nn.relu(y) + 1.0
        with tf.device("CPU:0"):
            kernel.assign_add(tf.ones((3, 5)))
            return tf.reduce_sum(first) + tf.reduce_sum(first**2), z

    seen = load("crossing").trace(step, tf.ones((4, 3)))
    crossed = sorted(
        (c.source[-1], c.target[-1], c.bytes)
        for c in seen.crossings
        if c.bytes > 4
    )
    # To device 1: x (4, 3), and what is added to the kernel (3, 5). From it:
    # half of y (2, 5), once for both of its readers, and z (4, 5).
    assert crossed == [
        ("0", "1", 4 * 12),
        ("0", "1", 4 * 15),
        ("1", "0", 4 * 10),
        ("1", "0", 4 * 20),
    ]
    assert kernel.numpy().sum() == 15  # a copy was run


def test_experts_shared_out_send_little_more_than_they_must(load):
    layouts = load("layouts")
    sizes = {"N": 256, "D": 64, "H": 8, "E": 4, "K": 2}
    mesh = layouts.on_mesh("balanced", sizes, "all:2", "batch:all;experts:all")
    x = tf.ones((256, 64))
    sent = load("crossing").trace(mesh.step, x, x).bytes
    # Four all-to-alls of 2 * 256 rows of 64 numbers, half of which stay; half
    # of the batch out to the second device, and back, forward and backward.
    least = 4 * 4 * 64 * (2 * 256 + 256) / 2
    assert least <= sent < 1.1 * least


def test_pictures_of_layouts_are_drawn_and_the_same_each_time(load, tmp_path):
    pictures = load("layout_pictures")
    files = []
    for _ in range(2):
        pictures.draw(tmp_path)
        files.append([path.read_bytes() for path in sorted(tmp_path.iterdir())])
    assert files[0] == files[1] and len(files[0]) == 2
    for path in tmp_path.iterdir():
        assert xml.etree.ElementTree.parse(path).getroot().tag.endswith("svg")
