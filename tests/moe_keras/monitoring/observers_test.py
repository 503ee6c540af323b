"""The routing of calls, handed to whoever asks for it."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import ExpertChoiceGate, SparseMoE
from moe_keras.monitoring import collected_routing, uncounted


def _layer(**kwargs):
    layer = SparseMoE(4, k=2, hidden_dim=8, **kwargs)
    layer.build((None, None, 5))
    layer.gate.gate_kernel.assign(keras.random.normal((5, 4), seed=1))
    return layer


def test_routing_is_that_of_the_gate_in_the_shape_of_the_inputs():
    layer, inputs = _layer(), keras.random.normal((2, 3, 5), seed=2)
    mask = np.array([[True, True, False], [True, True, True]])
    with collected_routing(layer) as routings:
        layer(inputs, mask=mask)
    (found,) = routings
    expected = layer.gate(tf.reshape(inputs, (6, 5)))
    assert found.layer is layer
    for values, others, none in (
        (found.expert_index, expected.expert_index, -1),
        (found.gate, expected.gate, 0.0),
    ):
        np.testing.assert_array_equal(
            values,
            np.where(mask[..., None], np.reshape(others, (2, 3, 2)), none),
        )


def test_a_graph_returns_what_it_collects():
    layers = [_layer(name=f"moe_{n}") for n in range(2)]
    model = keras.Sequential(layers)

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, 5))], autograph=False
    )
    def route(inputs):
        with uncounted(model), collected_routing(model) as routings:
            layers[1](layers[0](inputs))
        return {r.layer.name: r.expert_index for r in routings}

    inputs = keras.random.normal((2, 3, 5), seed=2)
    routed = route(inputs)
    assert list(routed) == ["moe_0", "moe_1"]
    with collected_routing(model) as routings:
        layers[1](layers[0](inputs))
    for found in routings:
        np.testing.assert_array_equal(
            routed[found.layer.name], found.expert_index
        )
    # Counted is only the call outside of the graph.
    assert layers[0].routing_statistics().tokens == 6


def test_blocks_nest_and_each_collects_what_is_called_within_it():
    layer, inputs = _layer(), tf.ones((2, 5))
    with collected_routing(layer) as outer:
        with collected_routing(layer) as inner:
            layer(inputs)
        layer(inputs)
    layer(inputs)
    assert (len(outer), len(inner)) == (2, 1)


def test_an_error_within_the_block_ends_it():
    layer, inputs = _layer(), tf.ones((2, 5))
    with pytest.raises(KeyError):
        with uncounted(layer), collected_routing(layer) as routings:
            raise KeyError
    layer(inputs)
    assert routings == [] and layer.routing_statistics().tokens == 2


def test_replicas_are_heard_and_uncounted_too(two_replicas):
    """Each runs in a thread of its own: 4 of 8 tokens, 2 experts each."""
    with two_replicas.scope():
        inputs = keras.Input((5,))
        layer = SparseMoE(4, k=2, hidden_dim=8)
        model = keras.Model(inputs, layer(inputs))
        model.compile("sgd")
    x = np.ones((8, 5), "float32")
    with uncounted(model):
        model.predict(x, verbose=0)
    assert layer.routing_statistics().tokens == 0
    with collected_routing(model) as routings:
        two_replicas.run(model, args=(tf.ones((4, 5)),))
    assert [r.expert_index.shape for r in routings] == [(4, 2), (4, 2)]
    assert layer.routing_statistics().tokens == 8


def test_any_thread_is_heard():
    layer = _layer()
    with uncounted(layer), collected_routing(layer) as routings:
        thread = threading.Thread(target=layer, args=(tf.ones((2, 5)),))
        thread.start()
        thread.join()
    assert len(routings) == 1 and layer.routing_statistics().tokens == 0


def test_number_of_experts_may_depend_on_the_batch():
    gate = ExpertChoiceGate(3, causal=False)
    layer = SparseMoE(3, hidden_dim=4, gate=gate)
    with collected_routing(layer) as routings:
        layer(keras.random.normal((2, 4, 5), seed=3))
    assert tuple(routings[0].expert_index.shape[:2]) == (2, 4)
