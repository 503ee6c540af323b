"""What the forward pass of a whole translator leaves for the backward pass."""

import dataclasses

import pytest
import tensorflow as tf
from four_devices import started

from moe_keras.placement.replicas import rows_of_replica, sum_over_replicas
from moe_keras.plan import Training, layouts, memory
from moe_keras.plan.translator import translator_from_config
from trainers.translator.folder import build_translator
from trainers.translator.task import training_loss
from translation.model.config import TranslatorConfig

CONFIG = TranslatorConfig(
    vocab_size=64,
    depth=32,
    lstm_units=48,
    num_experts=8,
    expert_hidden_dim=64,
    attention_units=24,
    dropout=0.1,
)
SENTENCES, LENGTH = 64, 12  # on either side, without padding


def step_of(model, strategy, halfway):
    """Forward and backward, of batches of any shape."""
    with strategy.scope():
        beginning = tf.Variable(1.0)
    ids = tf.TensorSpec((None, None), tf.int32)

    def of_replica(source, target_in, target_out):
        batch = {
            "source": source,
            "target_in": target_in,
            "target_out": target_out,
        }
        with tf.GradientTape() as tape:
            total, tokens, _ = training_loss(
                model, rows_of_replica(batch), smoothing=0.1
            )
            loss = total / tokens + tf.add_n(model.losses)
        # None goes back before the others have what it sent them.
        all_are_there = sum_over_replicas(tf.stop_gradient(loss))
        beginning_now = halfway(beginning, [loss, all_are_there])
        gradients = tape.gradient(
            loss, model.trainable_variables, beginning_now
        )
        # Only numbers leave the devices.
        gradients = map(tf.convert_to_tensor, gradients)
        return loss, [tf.reduce_sum(gradient) for gradient in gradients]

    @tf.function(autograph=False, input_signature=[ids, ids, ids])
    def step(*batch):
        return tf.nest.map_structure(
            strategy.experimental_local_results,
            strategy.run(of_replica, args=batch),
        )

    return step


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["one device", "mesh, experts", "replicas, experts shared out"]
)
def test_a_translator_keeps_the_activations_that_are_planned(name, load):
    """Within 10 %; the gates' choices, and with them the load, are chance's."""
    tokens = SENTENCES * LENGTH
    planned = translator_from_config("", dataclasses.asdict(CONFIG), tokens)
    count = 1 if name == "one device" else 4
    (layout,) = (x for x in layouts(planned, count) if x.name == name)
    workers = started(layout)
    with workers.scope():
        model = build_translator(CONFIG, "float32")
    ids = [
        tf.random.stateless_uniform(
            (SENTENCES, LENGTH), [1, seed], 4, CONFIG.vocab_size, tf.int32
        )
        for seed in range(3)
    ]
    crossing = load("crossing")
    step = step_of(model, workers.strategy, crossing.halfway)
    seen = crossing.trace(step, *ids)
    for number in range(count):
        device = next(x for x in seen.kept if x.endswith(f"CPU:{number}"))
        held = memory(planned, layout, Training(), number)
        assert seen.kept[device] == pytest.approx(held.activations, rel=0.1)
