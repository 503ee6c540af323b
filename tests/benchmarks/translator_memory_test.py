"""What the forward pass of a whole translator leaves for the backward pass."""

import dataclasses

import pytest
import tensorflow as tf
from four_devices import started

from moe_keras.plan import Training, layouts, memory
from moe_keras.plan.translator import translator_from_config
from trainers.model_folder import build_translator
from trainers.translation_task import training_loss
from translation.config import TranslatorConfig

CONFIG = TranslatorConfig(
    vocab_size=64,
    depth=32,
    lstm_units=48,
    num_experts=8,
    expert_hidden_dim=64,
    attention_units=24,
    dropout=0.1,
)
SENTENCES, LENGTH = 16, 12  # on either side, without padding


def step_of(model, halfway):
    """Forward and backward, of batches of any shape."""
    beginning = tf.Variable(1.0)
    ids = tf.TensorSpec((None, None), tf.int32)

    @tf.function(autograph=False, input_signature=[ids, ids, ids])
    def step(source, target_in, target_out):
        batch = {
            "source": source,
            "target_in": target_in,
            "target_out": target_out,
        }
        with tf.GradientTape() as tape:
            total, tokens, _ = training_loss(model, batch, smoothing=0.1)
            loss = total / tokens + tf.add_n(model.losses)
        gradients = tape.gradient(
            loss, model.trainable_variables, halfway(beginning, [loss])
        )
        # Only numbers leave the devices.
        gradients = map(tf.convert_to_tensor, gradients)
        return loss, [tf.reduce_sum(gradient) for gradient in gradients]

    return step


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one device", "mesh, experts"])
def test_a_translator_keeps_the_activations_that_are_planned(name, load):
    """Within 10 %; the gates' choices, and with them the load, are chance's."""
    tokens = SENTENCES * LENGTH
    planned = translator_from_config("", dataclasses.asdict(CONFIG), tokens)
    count = 1 if name == "one device" else 4
    (layout,) = (x for x in layouts(planned, count) if x.name == name)
    with started(layout).scope():
        model = build_translator(CONFIG, "float32")
    ids = [
        tf.random.stateless_uniform(
            (SENTENCES, LENGTH), [1, seed], 4, CONFIG.vocab_size, tf.int32
        )
        for seed in range(3)
    ]
    crossing = load("crossing")
    seen = crossing.trace(step_of(model, crossing.halfway), *ids)
    for number in range(count):
        device = next(x for x in seen.kept if x.endswith(f"CPU:{number}"))
        held = memory(planned, layout, Training(), number)
        assert seen.kept[device] == pytest.approx(held.activations, rel=0.1)
