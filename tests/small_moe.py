"""A small `SparseMoE`, whole or under a layout, and what it computes."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from moe_keras import SparseMoE
from moe_keras.parallel import MeshLayout
from moe_keras.placement.shards import shard_of

DEPTH = 5

# Name: (mesh shape, layout rules); two to four devices.
LAYOUTS = {
    "experts": ("all:4", "experts:all"),
    "hidden": ("all:2", "hidden:all"),
    "batch": ("all:3", "batch:all"),
    "exchange": ("all:4", "batch:all;experts:all"),
    "batch_and_experts": ("data:2;model:2", "batch:data;experts:model"),
    "experts_and_hidden": ("rows:2;cols:2", "experts:rows;hidden:cols"),
    "exchange_and_hidden": (
        "data:2;model:2",
        "batch:data;experts:data;hidden:model",
    ),
}


def layout_named(name):
    return MeshLayout(*LAYOUTS[name])


def small_moe(layout=None, make_parts=lambda: {}, **kwargs):
    """A built layer with the same initial weights whatever the layout."""
    keras.utils.set_random_seed(3)
    kwargs = {"k": 2, "hidden_dim": 6, "seed": 1, **kwargs, **make_parts()}
    kwargs = {name: x for name, x in kwargs.items() if x is not None}
    with layout.scope() if layout else contextlib.nullcontext():
        layer = SparseMoE(8, name="moe", **kwargs)
        layer.build((None, DEPTH))
    # Gates start at zero, and without noise all tokens would go one way.
    rng = np.random.default_rng(5)
    for weight in layer.gate.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def tokens(number, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(size=(number, DEPTH)), tf.float32)


def outputs_and_gradients(layer, inputs, mask=None):
    """Outputs, and the gradients of a loss that has the layer's own in it.

    Returns:
        Outputs, gradient of the inputs, list of gradients of the variables.
    """
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, mask=mask, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
        loss += sum(layer.losses)
    sources = [inputs, *layer.trainable_variables]
    d_inputs, *d_variables = tape.gradient(loss, sources)
    return outputs, d_inputs, d_variables


def wholes(layer, values=None):
    """Values of a layer's variables by path, with shards put together.

    Args:
        layer: Built layer.
        values: List of arrays, one for each trainable variable; by default
            their values.
    """
    variables = layer.trainable_variables
    result = {}
    for variable, value in zip(variables, values or variables, strict=True):
        value = keras.ops.convert_to_numpy(value)
        shard = shard_of(variable)
        if shard is None:
            result[variable.path] = value
        else:
            whole = result.setdefault(
                shard.path, np.full(shard.shape, np.nan, value.dtype)
            )
            shard.put(value, whole)
    return result
