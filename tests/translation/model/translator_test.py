"""The translator: shapes, padding, and steps against the whole sequence."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from translation.model.config import TranslatorConfig
from translation.model.translator import Translator

CONFIG = TranslatorConfig(
    vocab_size=13,
    depth=6,
    lstm_units=8,
    num_experts=3,
    expert_hidden_dim=5,
    attention_units=4,
)
SOURCE = np.array([[4, 5, 6, 2], [7, 8, 2, 0]], "int32")
TARGET = np.array([[1, 4, 5, 6, 9], [1, 7, 8, 0, 0]], "int32")


def _model(**changes):
    model = Translator(dataclasses.replace(CONFIG, **changes))
    model({"source": SOURCE, "target_in": TARGET})
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        shape = variable.shape
        variable.assign(random.normal(scale=0.3, size=shape))
    return model


@pytest.mark.parametrize("context_to", ["first", "all"])
@pytest.mark.parametrize("attention", ["product", "additive", "dot"])
def test_steps_give_the_logits_of_the_whole_sequence(context_to, attention):
    model = _model(context_to=context_to, attention=attention)
    whole = model({"source": SOURCE, "target_in": TARGET}).numpy()
    memory, state = model.encode(tf.constant(SOURCE))
    for time in range(TARGET.shape[1]):
        ids = tf.constant(TARGET[:, time])
        logits, state = model.step(ids, state, memory)
        real = TARGET[:, time] != 0
        np.testing.assert_allclose(
            logits.numpy()[real], whole[real, time], atol=1e-5
        )


def test_padding_changes_nothing():
    model = _model()
    alone = model({"source": SOURCE[1:, :3], "target_in": TARGET[1:, :3]})
    padded = model({"source": SOURCE, "target_in": TARGET})
    np.testing.assert_allclose(alone[0], padded[1, :3], atol=1e-6)


def test_first_subword_depends_on_the_source():
    model = _model(context_to="first")
    first = TARGET[:, :1]
    logits = model({"source": SOURCE, "target_in": first}).numpy()
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_every_variable_gets_a_gradient():
    model = _model(share_embeddings=False, share_softmax=False)
    with tf.GradientTape() as tape:
        logits = model({"source": SOURCE, "target_in": TARGET}, training=True)
        loss = tf.add_n([tf.reduce_sum(logits**2), *model.losses])
    variables = model.trainable_variables
    for variable, gradient in zip(
        variables, tape.gradient(loss, variables), strict=True
    ):
        assert gradient is not None, variable.path
        norm = tf.norm(tf.convert_to_tensor(gradient))
        assert norm > 0, variable.path


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_computes_logits_in_float32(policy):
    float32 = _model()
    expected = float32({"source": SOURCE, "target_in": TARGET})
    keras.config.set_dtype_policy(policy)
    try:
        model = _model()
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(float32.get_weights())
    logits = model({"source": SOURCE, "target_in": TARGET})
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, expected, atol=0.1)
    memory, state = model.encode(tf.constant(SOURCE))
    first, _ = model.step(tf.constant(TARGET[:, 0]), state, memory)
    assert first.dtype == tf.float32
    np.testing.assert_allclose(first, expected[:, 0], atol=0.1)
    model({"source": SOURCE, "target_in": TARGET}, training=True)
    assert np.isfinite(tf.add_n(model.losses))


def test_residual_blocks_hold_the_layers_in_the_papers_order():
    names = [block.name for block in _model().encoder.blocks]
    assert names == [
        "encoder_lstm_1",
        "encoder_lstm_2",
        "encoder_moe_2",
        "encoder_lstm_3",
    ]
    names = [block.name for block in _model().decoder.blocks]
    assert names == ["decoder_moe_1", "decoder_lstm_2"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_word_dropout_leaves_out_whole_subwords_of_its_side(side):
    model = _model(
        dropout=0.0,
        num_experts=1,
        experts_per_token=1,
        share_embeddings=False,
        share_softmax=False,
        **{f"{side}_word_dropout": 0.999},
    )
    batch = {"source": SOURCE, "target_in": TARGET}
    before = model(batch).numpy()
    keras.utils.set_random_seed(0)
    found = model(batch, training=True).numpy()  # nearly sure: all left out
    assert np.abs(found - before).max() > 1e-3
    table = getattr(model, f"{side}_embedding").table
    table.assign(np.zeros(table.shape))
    np.testing.assert_allclose(found, model(batch), atol=1e-5)


def test_word_dropout_leaves_out_a_subword_in_all_its_units():
    drop = _model(source_word_dropout=0.5).source_word_dropout
    kept = drop(np.ones((8, 9, 6), "float32"), training=True).numpy()
    assert set(np.unique(kept)) == {0.0, 2.0}
    np.testing.assert_array_equal(kept.min(axis=2), kept.max(axis=2))
