"""The encoder: what it sees, what padding does, and the order of layers."""

import dataclasses

import keras
import numpy as np
import pytest

from moe_keras import monitoring
from translation.model.config import TranslatorConfig
from translation.model.encoder import Encoder

B, S, D = 2, 5, 4
CONFIG = TranslatorConfig(
    depth=D,
    lstm_units=6,
    num_experts=3,
    expert_hidden_dim=5,
    dropout=0.3,
)
MASK = np.array([[True] * 5, [True] * 3 + [False] * 2])


def _encoder(**changes):
    encoder = Encoder(dataclasses.replace(CONFIG, **changes))
    encoder.build((None, None, D))
    random = np.random.default_rng(1)
    for variable in encoder.trainable_variables:
        variable.assign(random.normal(scale=0.5, size=variable.shape))
    return encoder


def _inputs():
    return np.random.default_rng(0).normal(size=(B, S, D)).astype("float32")


def _changed_places(encoder, place):
    """Where outputs change when the input at one place does."""
    inputs = _inputs()[:1]
    other = inputs.copy()
    other[:, place] += 1.0
    mask = np.ones((1, S), bool)
    difference = np.array(
        encoder(other, mask=mask) - encoder(inputs, mask=mask)
    )
    return [t for t in range(S) if np.abs(difference[0, t]).max() > 1e-6]


def _names(encoder):
    return [block.name for block in encoder.blocks]


@pytest.mark.parametrize("bidirectional", [True, False])
def test_content_of_padding_changes_nothing(bidirectional):
    encoder = _encoder(bidirectional=bidirectional)
    inputs = _inputs()
    outputs = np.array(encoder(inputs, mask=MASK))
    inputs[~MASK] = 100.0
    other = np.array(encoder(inputs, mask=MASK))
    np.testing.assert_allclose(outputs[MASK], other[MASK], atol=1e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_length_of_padding_changes_nothing(bidirectional):
    encoder = _encoder(bidirectional=bidirectional)
    inputs = _inputs()
    padded = encoder(inputs, mask=MASK)
    alone = encoder(inputs[1:, :3], mask=MASK[1:, :3])
    np.testing.assert_allclose(padded[1, :3], alone[0], atol=1e-6)


def test_first_layer_sees_the_future_when_bidirectional():
    assert _changed_places(_encoder(), place=3) == [0, 1, 2, 3, 4]


def test_only_the_past_is_seen_when_not_bidirectional():
    encoder = _encoder(bidirectional=False)
    assert _changed_places(encoder, place=3) == [3, 4]


def test_only_the_first_layer_is_bidirectional():
    kinds = [type(block.layer).__name__ for block in _encoder().blocks]
    assert kinds == [
        "Bidirectional",
        "ProjectedLSTM",
        "SparseMoE",
        "ProjectedLSTM",
    ]


def test_moe_stands_behind_the_layers_named():
    assert _names(_encoder(encoder_moe_after=(1, 3))) == [
        "encoder_lstm_1",
        "encoder_moe_1",
        "encoder_lstm_2",
        "encoder_lstm_3",
        "encoder_moe_3",
    ]
    assert _names(_encoder(encoder_layers=1, encoder_moe_after=())) == [
        "encoder_lstm_1"
    ]


def test_layers_add_to_what_came_in():
    # With weights of zero an LSTM adds 0 and an MoE layer sigmoid(0) = 1/2.
    encoder = _encoder(encoder_moe_after=(1, 2, 3))
    for variable in encoder.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    inputs = _inputs()
    outputs = encoder(inputs, mask=np.ones((B, S), bool))
    np.testing.assert_allclose(outputs, inputs + 3 * 0.5, rtol=1e-6)


def test_padding_goes_to_no_expert():
    # 5 + 3 tokens, 2 experts each.
    encoder = _encoder(experts_per_token=2)
    encoder(_inputs(), mask=MASK)
    (moe,) = monitoring.routing_layers(encoder)
    statistics = moe.routing_statistics()
    assert statistics.tokens == 8
    assert statistics.load.sum() == 16


def test_each_moe_layer_adds_its_loss_in_training_only():
    encoder = _encoder(encoder_moe_after=(1, 3))
    encoder(_inputs(), mask=MASK)
    assert not encoder.losses
    encoder(_inputs(), mask=MASK, training=True)
    assert len(encoder.losses) == 2


def test_config_makes_the_same_encoder():
    encoder = _encoder(bidirectional=False, encoder_moe_after=(1,))
    stored = keras.saving.serialize_keras_object(encoder)
    again = keras.saving.deserialize_keras_object(stored)
    assert again.config == encoder.config
    assert again.get_config() == encoder.get_config()
    again(_inputs())
    again.set_weights(encoder.get_weights())
    np.testing.assert_array_equal(again(_inputs()), encoder(_inputs()))
