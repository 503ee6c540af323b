"""What no layout can split, and what is no layout: refused with a reason."""

import keras
import pytest
import tensorflow as tf
from small_moe import DEPTH, layout_named, tokens

import moe_keras
from moe_keras.parallel import MeshLayout


class AddsLoss(moe_keras.FeedForwardExperts):
    def call(self, inputs, counts=None, local=None, training=False):
        self.add_loss(tf.reduce_sum(inputs))
        return super().call(inputs, counts, local, training)


@pytest.mark.parametrize(
    ("rules", "expert", "message"),
    [
        ("experts:all", moe_keras.FeedForwardExperts(6, 4), "take 4 or 8 exp"),
        ("hidden:all", moe_keras.FeedForwardExperts(8, 6), "over 1, 2, 3, 6"),
        (
            "hidden:all",
            moe_keras.FeedForwardExperts(8, 8, activation="softmax"),
            "each hidden unit by itself",
        ),
        ("hidden:all", lambda: keras.layers.Dense(4), "ExpertList cannot"),
    ],
)
def test_what_cannot_be_split(rules, expert, message):
    number = getattr(expert, "num_experts", 8)
    with MeshLayout("all:4", rules).scope():
        layer = moe_keras.SparseMoE(number, k=2, expert=expert)
        with pytest.raises(ValueError, match=message):
            layer.build((None, DEPTH))


def test_experts_that_add_a_loss_are_refused():
    with layout_named("experts").scope():
        layer = moe_keras.SparseMoE(8, k=2, expert=AddsLoss(8, 6))
        with pytest.raises(ValueError, match="add_loss"):
            layer(tokens(3))


@pytest.mark.parametrize(
    ("shape", "rules", "devices", "message"),
    [
        ("all", "experts:all", None, "`mesh_shape` must be names and sizes"),
        ("a:2;a:2", "experts:a", None, "`mesh_shape` must be names and sizes"),
        ("all:2", "experts", None, "`layout_rules` must be pairs"),
        ("all:2", "expert:all", None, "can split batch, experts, hidden"),
        ("all:2", "experts:model", None, "the mesh's all. Received: exp"),
        ("a:2;b:2", "experts:a;experts:b", None, "experts over one dimension"),
        ("all:2", "batch:all;hidden:all", None, "hidden and batch over two"),
        ("all:2", "experts:all;hidden:all", None, "hidden and experts over"),
        ("all:8", "experts:all", None, "has 8 devices. Received: 4"),
        ("all:2", "experts:all", ["CPU:0"], "has 2 devices. Received: 1"),
        ("all:1", "experts:all", ["CPU:9"], "must be among .*CPU:3. Received"),
        ("all:1", "experts:all", ["/job:a b"], "must be among"),
    ],
)
def test_what_is_no_layout(shape, rules, devices, message):
    with pytest.raises(ValueError, match=message):
        MeshLayout(shape, rules, devices)
