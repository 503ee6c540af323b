"""The language model: steps and sequences agree, state goes on, gradients."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from language_model.config import LanguageModelConfig
from language_model.model import LanguageModel

CONFIG = LanguageModelConfig(
    vocab_size=11,
    depth=4,
    lstm_units=6,
    num_experts=5,
    experts_per_token=2,
    expert_hidden_dim=3,
    dropout=0.0,
)
IDS = np.array([[1, 5, 7, 4, 9], [1, 10, 6, 3, 8]], "int32")


def _model(**changes):
    keras.utils.set_random_seed(1)
    model = LanguageModel(dataclasses.replace(CONFIG, **changes))
    model(IDS)
    gates = [w for w in model.weights if w.name == "gate_kernel"]
    for gate in gates:  # zeros choose the same experts for every token
        gate.assign(np.random.default_rng(2).normal(size=gate.shape))
    return model


def test_steps_give_what_the_sequence_gives():
    model = _model()
    state = model.initial_state(2)
    logits = []
    for ids in IDS.T:
        scores, state = model.step(ids, state)
        logits.append(scores)
    np.testing.assert_allclose(np.stack(logits, 1), model(IDS), atol=1e-6)


def test_text_in_two_parts_gives_what_it_gives_in_one():
    model = _model()
    _, state = model.features(IDS[:, :2])
    np.testing.assert_allclose(
        model(IDS[:, 2:], state=state), model(IDS)[:, 2:], atol=1e-6
    )


def test_later_words_bear_on_no_earlier_ones():
    model = _model()
    changed = IDS.copy()
    changed[:, 3] = 2
    same = np.asarray(model(changed)) == np.asarray(model(IDS))
    assert same[:, :3].all() and not same[:, 3:].any()


def test_padding_leaves_the_state_as_it_is():
    model = _model()
    padded = np.pad(IDS, [[0, 0], [0, 3]])
    (outputs, state), (longer, padded_state) = map(
        model.features, (IDS, padded)
    )
    np.testing.assert_allclose(longer[:, :5], outputs, atol=1e-6)
    for one, other in zip(
        tf.nest.flatten(state), tf.nest.flatten(padded_state), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_features_leave_the_balancing_losses_of_their_call_alone():
    model = _model()
    for _ in range(2):  # those of the first call are gone
        model.features(IDS, training=True)
        assert len(model.losses) == 1


def test_every_weight_has_a_gradient():
    model = _model(dropout=0.1)
    with tf.GradientTape() as tape:
        logits = model(IDS, training=True)
        loss = tf.reduce_sum(logits**2) + tf.add_n(model.losses)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert None not in gradients
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in gradients)


def test_layers_may_stand_in_any_order_and_number():
    model = _model(layers=("moe", "lstm", "lstm", "moe", "lstm"))
    assert len(model.initial_state(2)) == 3
    np.testing.assert_allclose(
        model.step(IDS[:, 0], model.initial_state(2))[0],
        model(IDS[:, :1])[:, 0],
        atol=1e-6,
    )


def test_shared_softmax_has_one_table():
    model = _model(share_softmax=True)
    tables = [w for w in model.weights if w.name == "table"]
    assert len(tables) == 1 and model.softmax is model.body.embedding


def test_saved_model_is_the_same(tmp_path):
    model = _model()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IDS), model(IDS))


def test_deep_experts_have_hidden_layers_between():
    model = _model(num_experts=1, experts_per_token=1, expert_hidden_layers=3)
    shapes = [tuple(w.shape) for w in model.weights if "moe" in w.path]
    assert shapes.count((3, 3)) == 2


def test_deep_experts_have_the_same_paths_in_every_model():
    deep = {"num_experts": 2, "experts_per_token": 1, "expert_hidden_layers": 2}
    first, second = (
        [weight.path.partition("/")[2] for weight in _model(**deep).weights]
        for _ in range(2)
    )
    assert first == second
    assert len({*first}) == len(first)
    assert any("experts/expert_2/hidden_1/kernel" in path for path in first)
