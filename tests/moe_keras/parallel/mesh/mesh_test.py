"""The mesh's verbs by hand, and what importing Mesh-TensorFlow leaves."""

import numpy as np
import pytest
import tensorflow as tf
from small_moe import DEPTH, LAYOUTS, layout_named
from tensorflow.python.framework import ops

from moe_keras import GatedFeedForwardExperts
from moe_keras.parallel.mesh.mesh import Mesh, copy_to
from moe_keras.parallel.mesh.mesh_tensorflow_import import mtf
from moe_keras.placement.shards import shard_of, whole_variables

DEVICES = [f"/device:CPU:{i}" for i in range(4)]


def square_mesh():
    return Mesh(mtf.convert_to_shape("rows:2;cols:2"), [], DEVICES)


def laid_out(mesh, *rows):
    return mesh.LaidOutTensor([tf.constant(row, tf.float32) for row in rows])


def values(tensors):
    return [tensor.numpy().tolist() for tensor in tensors]


def test_import_leaves_tensorflow_as_it_was():
    assert not hasattr(tf.compat.v1, "estimator")
    assert not hasattr(ops, "register_tensor_conversion_function")
    assert mtf.convert_to_shape("a:2;b:3").size == 6


def test_exchange_swaps_slices_within_groups_and_so_does_its_gradient():
    mesh = square_mesh()
    x = laid_out(mesh, [1, 2], [3, 4], [5, 6], [7, 8])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x.tensor_list)
        # Along rows devices 0 and 2 are a group, and 1 and 3.
        y = mesh.exchange(x, 0).tensor_list
        loss = tf.reduce_sum(y[2] * [10.0, 100.0] + 0 * (y[1] + y[3]))
    assert values(y) == [[1, 5], [3, 7], [2, 6], [4, 8]]
    gradients = tape.gradient(loss, x.tensor_list, unconnected_gradients="zero")
    # What device 2 has is from the second places of devices 0 and 2.
    assert values(gradients) == [[0, 10], [0, 0], [0, 100], [0, 0]]


def test_sum_over_a_dimension_and_its_gradient():
    mesh = square_mesh()
    x = laid_out(mesh, [1], [2], [3], [4])
    with tf.GradientTape() as tape:
        tape.watch(x.tensor_list)
        left, right = mesh.sum_to(x, [1], chosen=[0, 2])
        loss = 10 * left + 100 * right
    assert values([left, right]) == [[3], [7]]
    gradients = tape.gradient(loss, x.tensor_list)
    assert values(gradients) == [[10], [10], [100], [100]]


def test_functions_run_and_are_differentiated_on_their_devices():
    mesh = square_mesh()
    x = laid_out(mesh, [1.0], [2.0], [3.0], [4.0])
    scale = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x.tensor_list)
        y = mesh.slicewise_with_gradient(
            lambda number, x: float(number) * x * scale, x
        ).tensor_list
        loss = tf.add_n([tf.reduce_sum(part) for part in y])
    gradients, d_scale = tape.gradient(loss, [x.tensor_list, scale])
    assert values(y) == [[0], [6], [18], [36]]
    assert values(gradients) == [[0], [3], [6], [9]]
    assert [g.device[-5:] for g in gradients] == [d[-5:] for d in DEVICES]
    assert float(d_scale) == 0 * 1 + 1 * 2 + 2 * 3 + 3 * 4


def test_gradients_of_what_is_shared_are_summed_at_home():
    with tf.device(DEVICES[1]):
        weight = tf.Variable(2.0)
    with tf.GradientTape() as tape:
        copies = copy_to(tf.convert_to_tensor(weight), DEVICES[1], DEVICES[:3])
        loss = 3 * copies[0] + 4 * copies[2]
    gradient = tape.gradient(loss, weight)
    assert float(gradient) == 7 and gradient.device.endswith("CPU:1")


def gated_experts(layout, seed):
    experts = GatedFeedForwardExperts(8, 6, name="experts")
    with layout_named(layout).scope():
        experts.build((8, None, DEPTH))
    rng = np.random.default_rng(seed)
    for name in ("kernel_in", "kernel_out"):
        weight = getattr(experts, name)
        weight.assign(rng.normal(size=weight.shape).astype("float32"))
    return experts


@pytest.mark.parametrize("before", ["batch", "experts_and_hidden", "hidden"])
@pytest.mark.parametrize("after", ["batch", "experts_and_hidden", "experts"])
def test_checkpoints_of_one_layout_are_read_by_another(before, after, tmp_path):
    """Two kernels side by side, of which each device has a part of both."""
    saved, read = gated_experts(before, 1), gated_experts(after, 2)
    path = tf.train.Checkpoint(
        weights=whole_variables(saved.trainable_variables)
    ).write(str(tmp_path / "ckpt"))
    status = tf.train.Checkpoint(
        weights=whole_variables(read.trainable_variables)
    ).read(path)
    status.assert_consumed()
    for name in ("kernel_in", "kernel_out"):
        ours, theirs = getattr(read, name), getattr(saved, name)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_part_of_two_kernels_side_by_side_has_some_of_both():
    experts = gated_experts("hidden", 1)
    assert LAYOUTS["hidden"] == ("all:2", "hidden:all")
    first, second = experts.kernel_in.shards
    assert first.shape == (8, DEPTH, 6)  # 3 of 6 units of each kernel
    ranges = [(p[2].start, p[2].stop) for p in shard_of(second).pieces]
    assert ranges == [(3, 6), (9, 12)]
