"""The decoder: what each place may know, and steps against the whole."""

import dataclasses

import keras
import numpy as np
import pytest

from moe_keras import ProjectedLSTM, monitoring
from translation.model.config import TranslatorConfig
from translation.model.decoder import Decoder

B, S, T, D = 2, 3, 4, 6
CONFIG = TranslatorConfig(
    depth=D,
    lstm_units=8,
    decoder_layers=3,
    decoder_moe_after=(1, 3),
    num_experts=3,
    expert_hidden_dim=5,
    attention_units=7,
    dropout=0.3,
)
SOURCE_MASK = np.array([[True, True, True], [True, True, False]])


def _decoder(**changes):
    decoder = Decoder(dataclasses.replace(CONFIG, **changes))
    decoder.build((None, None, D), (None, None, D))
    random = np.random.default_rng(1)
    for variable in decoder.trainable_variables:
        variable.assign(random.normal(scale=0.5, size=variable.shape))
    return decoder


def _tensors():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(B, T, D)).astype("float32")
    encoded = random.normal(size=(B, S, D)).astype("float32")
    return inputs, encoded


def _changed_places(before, after):
    difference = np.abs(np.array(after) - np.array(before)).max((0, 2))
    return [time for time in range(T) if difference[time] > 1e-6]


@pytest.mark.parametrize("context_to", ["first", "all"])
@pytest.mark.parametrize("place", [0, 2])
def test_subword_changes_nothing_before_it(context_to, place):
    decoder = _decoder(context_to=context_to)
    inputs, encoded = _tensors()
    before = decoder(inputs, encoded, SOURCE_MASK)
    inputs[:, place] += 1.0
    after = decoder(inputs, encoded, SOURCE_MASK)
    assert _changed_places(before, after) == list(range(place, T))


@pytest.mark.parametrize("context_to", ["first", "all"])
def test_every_place_depends_on_the_source(context_to):
    decoder = _decoder(context_to=context_to)
    inputs, encoded = _tensors()
    before = decoder(inputs, encoded, SOURCE_MASK)
    after = decoder(inputs, encoded + 1.0, SOURCE_MASK)
    assert _changed_places(before, after) == [0, 1, 2, 3]


def test_padding_of_the_source_changes_nothing():
    decoder = _decoder()
    inputs, encoded = _tensors()
    before = decoder(inputs, encoded, SOURCE_MASK)
    encoded[~SOURCE_MASK] = 100.0
    after = decoder(inputs, encoded, SOURCE_MASK)
    np.testing.assert_allclose(before, after, atol=1e-5)
    alone = decoder(inputs[1:], encoded[1:, :2], SOURCE_MASK[1:, :2])
    np.testing.assert_allclose(alone[0], after[1], atol=1e-5)


def test_padding_of_the_target_goes_to_no_expert():
    # 4 + 2 real subwords, 2 experts each, in either MoE layer.
    decoder = _decoder(experts_per_token=2)
    mask = np.array([[True] * 4, [True, True, False, False]])
    decoder(*_tensors(), SOURCE_MASK, mask=mask)
    layers = monitoring.routing_layers(decoder)
    assert [layer.routing_statistics().tokens for layer in layers] == [6, 6]
    assert [layer.routing_statistics().load.sum() for layer in layers] == [
        12,
        12,
    ]


def test_context_joins_later_lstms_only_when_it_goes_to_all():
    # D = 6 alone, 6 + 6 with the context; gates are 4 H = 32 wide.
    for context_to, width in (("first", 6), ("all", 12)):
        decoder = _decoder(context_to=context_to)
        shapes = [
            tuple(block.layer.kernel.shape)
            for block in decoder.blocks
            if isinstance(block.layer, ProjectedLSTM)
        ]
        assert shapes == [(width, 32), (width, 32)]
        assert decoder.attentive.kernel.shape == (6, 32)
        assert decoder.attentive.recurrent_kernel.shape == (6 + 6, 32)


def test_moe_stands_behind_the_layers_named():
    def names(**changes):
        return [block.name for block in _decoder(**changes).blocks]

    assert names() == [
        "decoder_moe_1",
        "decoder_lstm_2",
        "decoder_lstm_3",
        "decoder_moe_3",
    ]
    assert names(decoder_moe_after=(2,)) == [
        "decoder_lstm_2",
        "decoder_moe_2",
        "decoder_lstm_3",
    ]
    assert names(decoder_layers=1, decoder_moe_after=()) == []


def test_layers_add_to_what_came_in():
    # With weights of zero an LSTM adds 0 and an MoE layer sigmoid(0) = 1/2.
    decoder = _decoder()
    for variable in decoder.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    inputs, encoded = _tensors()
    outputs = decoder(inputs, encoded, SOURCE_MASK)
    np.testing.assert_allclose(outputs, inputs + 2 * 0.5, rtol=1e-6)


def test_first_context_is_that_of_a_query_of_zeros():
    # tanh(0 W) = 0: all scores are equal, the context is the plain mean.
    decoder = _decoder()
    _, encoded = _tensors()
    _, state = decoder.start(encoded, SOURCE_MASK)
    hidden, cell, context = state["first"]
    assert not np.any(hidden) and not np.any(cell)
    expected = [encoded[0].mean(0), encoded[1, :2].mean(0)]
    np.testing.assert_allclose(context, expected, rtol=1e-5)


def test_readout_adds_a_linear_map_of_the_context():
    # Layers of zeros add nothing to an input of zeros. Scores of zero attend
    # evenly: the context is the mean of the values, 1 and 4 make 2.5.
    decoder = _decoder(decoder_moe_after=(), readout=True)
    for variable in decoder.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    decoder.readout.kernel.assign(2.0 * np.eye(D))
    encoded = np.stack([np.full((1, D), 1.0), np.full((1, D), 4.0)], axis=1)
    outputs = decoder(np.zeros((1, T, D)), encoded, np.ones((1, 2), bool))
    np.testing.assert_allclose(outputs, np.full((1, T, D), 5.0))


@pytest.mark.parametrize(
    "context_to, readout", [("first", False), ("all", False), ("all", True)]
)
def test_steps_equal_the_call(context_to, readout):
    decoder = _decoder(context_to=context_to, readout=readout)
    inputs, encoded = _tensors()
    whole = np.array(decoder(inputs, encoded, SOURCE_MASK))
    memory, state = decoder.start(encoded, SOURCE_MASK)
    assert len(state["upper"]) == 2
    for time in range(T):
        outputs, alignment, state = decoder.step(inputs[:, time], state, memory)
        np.testing.assert_allclose(outputs, whole[:, time], atol=1e-5)
        np.testing.assert_allclose(np.sum(alignment, 1), [1, 1], rtol=1e-5)
        assert alignment[1, 2] == 0  # padding


def test_dropout_is_for_training():
    decoder = _decoder()
    inputs, encoded = _tensors()
    outputs = [
        np.array(decoder(inputs, encoded, SOURCE_MASK, training=training))
        for training in (False, False, True)
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 0.01
    assert len(decoder.losses) == 2  # of the MoE layers, while training


def test_builds_when_first_called():
    inputs, encoded = _tensors()
    decoder = Decoder(CONFIG)
    assert decoder(inputs, encoded, SOURCE_MASK).shape == (B, T, D)


def test_config_makes_the_same_decoder():
    decoder = _decoder(context_to="first", attention="additive")
    inputs, encoded = _tensors()
    stored = keras.saving.serialize_keras_object(decoder)
    again = keras.saving.deserialize_keras_object(stored)
    assert again.config == decoder.config
    assert again.get_config() == decoder.get_config()
    again(inputs, encoded)
    again.set_weights(decoder.get_weights())
    np.testing.assert_array_equal(
        again(inputs, encoded), decoder(inputs, encoded)
    )
