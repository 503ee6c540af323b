"""Slots of experts, against exact fractions."""

import fractions

import numpy as np
import pytest
import tensorflow as tf

from moe_keras import BatchwiseGate, ExpertChoiceGate, SparseMoE, TopKGate
from moe_keras.capacity import slots_of_expert


@pytest.mark.parametrize(
    "factor, k, tokens, experts, slots",
    [
        (1.1, 1, 100, 10, 11),  # in floating point 11.000000000000002
        (1.1, 2, 50, 10, 11),
        (2.2, 1, 5, 11, 1),
        (0.07, 1, 100, 7, 1),
        (1.25, 2, 6, 5, 3),
        (1.01, 1, 100, 10, 11),  # 10.1
        (4 / 3, 1, 9, 4, 3),
        (5 / 3, 1, 9, 5, 3),  # 1.6666666666666667 is above 5/3
        (np.float32(1.1), 1, 100, 10, 11),
        (1e-9, 1, 100, 10, 1),
        (1e9, 1, 100, 10, 100),  # no more than there are tokens
        (2, 1, 0, 10, 0),
    ],
)
def test_capacity_is_that_of_the_number_as_written(
    factor, k, tokens, experts, slots
):
    assert slots_of_expert(tokens, k, experts, factor) == slots
    of_tensor = slots_of_expert(tf.constant(tokens), k, experts, factor)
    assert of_tensor.dtype == tf.int32 and int(of_tensor) == slots


def test_every_decimal_factor_rounds_as_its_fraction_does():
    for hundredths in range(1, 400):
        for tokens, k, experts in ((100, 1, 10), (96, 2, 16), (70, 3, 7)):
            exact = fractions.Fraction(hundredths * k * tokens, 100 * experts)
            slots = slots_of_expert(tokens, k, experts, hundredths / 100)
            assert slots == min(
                -(-exact.numerator // exact.denominator), tokens
            )


@pytest.mark.parametrize("batch", (None, 100))
def test_layer_has_as_many_slots(batch):
    """100 tokens of one expert of 10, of which 11 have room."""
    gate = TopKGate(10, k=1, softmax="before")
    layer = SparseMoE(10, hidden_dim=2, gate=gate, capacity_factor=1.1)
    layer.build((None, 3))
    gate.gate_kernel.assign(np.eye(3, 10))
    tf.function(layer, input_signature=[tf.TensorSpec((batch, 3))])(
        np.tile([[1.0, 0.0, 0.0]], (100, 1)).astype("float32")
    )
    assert layer.routing_statistics().overflow == 100 - 11


@pytest.mark.parametrize(
    "gate, training",
    [
        (ExpertChoiceGate(10, causal=False, capacity_factor=1.1), False),
        (BatchwiseGate(10, k=1), True),
    ],
    ids=("expert_choice", "batchwise"),
)
def test_experts_that_choose_take_as_many(gate, training):
    routing = gate(np.random.normal(size=(100, 3)), training=training)
    each = 11 if isinstance(gate, ExpertChoiceGate) else 10
    np.testing.assert_array_equal(routing.load, [each] * 10)
