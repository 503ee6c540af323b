"""One step, and several batches in one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import BiasBalancedGate, SparseMoE, ThresholdGate
from moe_keras.losses import cv_squared
from trainers.engine.optimizer import FusedAdam
from trainers.engine.train_step import TrainStep
from translation.model.config import TranslatorConfig
from translation.model.translator import Translator


class Balanced(keras.layers.Layer):
    """A linear layer with an auxiliary loss on its columns' totals."""

    def __init__(self, auxiliary):
        super().__init__(name="balanced")
        self._auxiliary = auxiliary

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], 3), initializer="glorot_uniform"
        )

    def call(self, inputs):
        share_BE = tf.nn.softmax(tf.matmul(inputs, self.kernel))
        self.add_loss(self._auxiliary(share_BE))
        return share_BE


def _cv_squared_of_totals(share_BE):
    return 0.3 * cv_squared(tf.reduce_sum(share_BE, axis=0))


def _mean_entropy(share_BE):
    """Linear in the tokens: a mean over them."""
    entropy_B = -tf.reduce_sum(share_BE * tf.math.log(share_BE), axis=1)
    return 0.3 * tf.reduce_mean(entropy_B)


def _no_auxiliary(share_BE):
    return 0.0 * tf.reduce_sum(share_BE)


def _model(auxiliary=_no_auxiliary):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,)), Balanced(auxiliary)])
    return model


def _loss(model, batch):
    inputs, targets = batch
    error_B = tf.reduce_sum((model(inputs, training=True) - targets) ** 2, 1)
    return tf.reduce_sum(error_B), tf.cast(tf.size(error_B), tf.float32)


def _batch(size, seed):
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(size, 4)).astype("float32")
    targets = random.uniform(size=(size, 3)).astype("float32")
    return tf.constant(inputs), tf.constant(targets)


def _joined(batches):
    return tuple(tf.concat(parts, 0) for parts in zip(*batches, strict=True))


def _step(model, accumulate_steps=1, clip_norm=100.0):
    optimizer = FusedAdam(0.05)
    optimizer.build(model.trainable_variables)
    step = TrainStep(model, _loss, optimizer, clip_norm, accumulate_steps)
    return step, optimizer


def _gradient(model, batch):
    """Gradient of the mean loss and the auxiliary loss, worked directly."""
    with tf.GradientTape() as tape:
        loss_sum, tokens = _loss(model, batch)
        total = loss_sum / tokens + tf.add_n(model.losses)
    (gradient,) = tape.gradient(total, model.trainable_variables)
    return gradient.numpy()


def _applied(model, batches, **kwargs):
    """Gradients that a step hands to the optimizer, and its figures."""
    step, optimizer = _step(model, len(batches), **kwargs)
    seen = []
    optimizer.apply = lambda gradients, _: seen.extend(gradients)
    tf.config.run_functions_eagerly(True)
    try:
        figures, _ = step(iter(batches))
    finally:
        tf.config.run_functions_eagerly(False)
    return [gradient.numpy() for gradient in seen], figures


# Batches of 2, 5 and 3 tokens: a mean of means would be another number.
BATCHES = [_batch(size, seed) for seed, size in enumerate((2, 5, 3))]


@pytest.mark.parametrize("auxiliary", [_no_auxiliary, _mean_entropy])
def test_batches_in_one_step_are_one_batch(auxiliary):
    model = _model(auxiliary)
    (gradient, *_), figures = _applied(model, BATCHES)
    whole = _joined(BATCHES)
    np.testing.assert_allclose(gradient, _gradient(model, whole), rtol=1e-5)
    loss_sum, tokens = _loss(model, whole)
    assert figures.examples == float(tokens) == 10.0
    assert figures.loss == pytest.approx(float(loss_sum) / 10, rel=1e-6)
    assert figures.norm == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_weights_after_several_steps_are_those_of_large_batches():
    large, small = _model(), _model()
    step, optimizer = _step(large, clip_norm=0.5)
    step_of_3, optimizer_of_3 = _step(small, 3, clip_norm=0.5)
    for _ in range(4):
        step(iter([_joined(BATCHES)]))
        step_of_3(iter(BATCHES))
    assert int(optimizer.iterations) == int(optimizer_of_3.iterations) == 4
    np.testing.assert_allclose(
        large.weights[0].numpy(), small.weights[0].numpy(), rtol=1e-4
    )


def test_balancing_loss_is_the_mean_of_the_batches_not_of_the_whole():
    model = _model(_cv_squared_of_totals)
    (gradient, *_), _ = _applied(model, BATCHES)
    tokens = np.array([2.0, 5.0, 3.0])
    gradients = np.stack([_gradient(model, batch) for batch in BATCHES])
    # sum_m tokens_m gradient_m / sum_m tokens_m
    expected = np.tensordot(tokens / tokens.sum(), gradients, axes=1)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)
    whole = _gradient(model, _joined(BATCHES))
    assert np.abs(gradient - whole).max() > 1e-3


def test_balance_of_each_batch_asks_for_more_than_that_of_the_whole():
    # All to the first column, then all to the second. Alone each batch has
    # totals (1, 0): mean 1/2, variance 1/4, CV^2 = 1. Together (1, 1): 0.
    totals = [tf.constant([1.0, 0.0]), tf.constant([0.0, 1.0])]
    assert np.mean([cv_squared(t) for t in totals]) == pytest.approx(1.0)
    assert float(cv_squared(totals[0] + totals[1])) == 0.0


def _model_of(gate):
    """Tokens `(B, 4)` to `(B, 3)` through experts that this gate chooses."""
    keras.utils.set_random_seed(3)
    moe = SparseMoE(4, hidden_dim=5, gate=gate, name="moe")
    return keras.Sequential(
        [keras.Input((4,)), moe, keras.layers.Dense(3, name="out")]
    )


def test_bias_of_a_gate_moves_once_by_the_load_of_all_batches():
    gate = BiasBalancedGate(4, k=2, update_rate=0.01)
    model = _model_of(gate)
    loads = [gate(inputs).load.numpy() for inputs, _ in BATCHES]
    _step(model, 3)[0](iter(BATCHES))
    # 10 tokens with 2 experts each: 5 choices for each of 4 experts.
    signs = np.sign(5 - sum(loads))
    expected = 0.01 * (signs - signs.mean())
    np.testing.assert_allclose(gate.bias, expected, atol=1e-7)
    one_by_one = sum(np.sign(np.mean(load) - load) for load in loads)
    assert np.abs(one_by_one - signs).max() >= 1  # it would be another bias
    np.testing.assert_array_equal(gate.pending_load, np.zeros(4))


def test_gates_within_a_translator_are_told_of_accumulated_batches():
    config = TranslatorConfig(
        vocab_size=9,
        depth=4,
        lstm_units=4,
        num_experts=4,
        experts_per_token=2,
        expert_hidden_dim=4,
        gate="bias_balanced",
    )
    model = Translator(config)
    model.build()
    gates = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, BiasBalancedGate)
    ]
    _step(model, accumulate_steps=3)
    assert [gate.batches_per_update for gate in gates] == [3, 3]
    _step(model)
    assert [gate.batches_per_update for gate in gates] == [1, 1]


def test_gradient_is_cut_to_the_norm():
    seen, figures = _applied(_model(), BATCHES[:1], clip_norm=1e-3)
    assert figures.norm > 1e-3
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in seen))
    np.testing.assert_allclose(norm, 1e-3, rtol=1e-5)


def _spoiled(batch, value):
    inputs, targets = (tensor.numpy() for tensor in batch)
    inputs[1, 2] = value
    return tf.constant(inputs), tf.constant(targets)


@pytest.mark.parametrize("accumulate_steps", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_step_that_is_not_finite_changes_nothing(value, accumulate_steps):
    model = _model()
    step, optimizer = _step(model, accumulate_steps)
    batches = BATCHES[:accumulate_steps]
    step(iter(batches))
    variables = [*model.variables, *optimizer.variables]
    before = [variable.numpy() for variable in variables]
    figures, taken = step(iter([*batches[:-1], _spoiled(batches[-1], value)]))
    assert not figures.is_finite and len(taken) == accumulate_steps
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
    # And the next one is as if nothing had been.
    other = _model()
    step_of_other, _ = _step(other, accumulate_steps)
    for _ in range(2):
        step_of_other(iter(batches))
    step(iter(batches))
    np.testing.assert_array_equal(model.weights[0], other.weights[0])


@pytest.mark.parametrize("accumulate_steps", [1, 3])
@pytest.mark.parametrize(
    "gate",
    [
        # 2 or 10 tokens, one expert each: no load of 4 experts is even.
        lambda: BiasBalancedGate(4, k=1, update_rate=0.01),
        lambda: ThresholdGate(4, k_max=3, mass=0.6, target=1.0),
    ],
    ids=["bias", "mass"],
)
def test_step_that_is_not_finite_leaves_the_state_of_a_gate(
    gate, accumulate_steps
):
    model = _model_of(gate())
    step, _ = _step(model, accumulate_steps)
    batches = BATCHES[:accumulate_steps]
    state = model.non_trainable_weights[0]  # the bias, or the mass's logit
    new = state.numpy()
    step(iter(batches))
    assert np.any(state.numpy() != new)
    before = [weight.numpy() for weight in model.weights]
    # The last batch is spoiled: those before have moved the state.
    figures, _ = step(iter([*batches[:-1], _spoiled(batches[-1], np.nan)]))
    assert not figures.is_finite
    for weight, old in zip(model.weights, before, strict=True):
        assert np.isfinite(old).all()
        np.testing.assert_array_equal(weight, old, err_msg=weight.path)


def test_overflow_of_the_loss_scale_leaves_the_state_of_a_gate():
    model = _model_of(BiasBalancedGate(4, k=2, update_rate=0.01))
    optimizer = FusedAdam(0.05)
    optimizer.build(model.trainable_variables)
    scale = tf.Variable(3e38)
    step = TrainStep(model, _loss, optimizer, 1.0, loss_scale=scale)
    bias = model.get_layer("moe").gate.bias
    figures, _ = step(iter(BATCHES))
    assert np.isfinite(figures.loss) and not figures.is_finite
    np.testing.assert_array_equal(bias, np.zeros(4))
    scale.assign(1.0)
    assert step(iter(BATCHES))[0].is_finite and np.any(bias)


def test_infinite_gradient_of_a_finite_loss_changes_nothing():
    # The loss sqrt(0 * w) is 0, its gradient infinite or NaN.
    def loss(model, batch):
        inputs, _ = batch
        output = model(inputs, training=True)
        return tf.reduce_sum(tf.sqrt(output * 0.0)), tf.constant(1.0)

    model = _model()
    optimizer = FusedAdam(0.05)
    optimizer.build(model.trainable_variables)
    before = model.weights[0].numpy()
    figures, _ = TrainStep(model, loss, optimizer, 1.0)(iter(BATCHES))
    assert figures.loss == 0.0 and not np.isfinite(figures.norm)
    assert not figures.is_finite and int(optimizer.iterations) == 0
    np.testing.assert_array_equal(model.weights[0], before)


def _with_likelihood(model, batch):
    loss_sum, tokens = _loss(model, batch)
    return loss_sum, tokens, {"nll": 0.25 * loss_sum + tokens}


@pytest.mark.parametrize("accumulate_steps", [1, 3])
def test_other_sums_are_means_over_examples_beside_the_loss(accumulate_steps):
    model = _model()
    optimizer = FusedAdam(0.05)
    optimizer.build(model.trainable_variables)
    step = TrainStep(model, _with_likelihood, optimizer, 1.0, accumulate_steps)
    figures, _ = step(iter(BATCHES))
    nll = figures.others["nll"]
    assert nll == pytest.approx(0.25 * figures.loss + 1.0, rel=1e-5)


@pytest.mark.parametrize("accumulate_steps", [1, 3])
def test_loss_scale_changes_no_figure_and_no_weight(accumulate_steps):
    plain, scaled = _model(_mean_entropy), _model(_mean_entropy)
    step, _ = _step(plain, accumulate_steps)
    optimizer = FusedAdam(0.05)
    optimizer.build(scaled.trainable_variables)
    scaled_step = TrainStep(
        scaled,
        _loss,
        optimizer,
        100.0,
        accumulate_steps,
        loss_scale=tf.Variable(1024.0),
    )
    for _ in range(2):
        figures, _ = step(iter(BATCHES))
        again, _ = scaled_step(iter(BATCHES))
        np.testing.assert_allclose(again[:4], figures[:4], rtol=1e-5)
    np.testing.assert_allclose(
        plain.weights[0], scaled.weights[0], rtol=1e-4, atol=1e-6
    )


def test_loss_scale_saves_gradients_that_float16_would_lose():
    # The gradient of each weight is 2^-30; float16 ends at 2^-24.
    def loss(model, batch):
        model(batch, training=True)
        kernel = tf.cast(model.weights[0].value, tf.float16)
        small = kernel * tf.constant(2.0**-8, tf.float16)
        total = tf.reduce_sum(tf.cast(small, tf.float32)) * 2.0**-22
        return total, tf.constant(1.0)

    norms = []
    for scale in (None, tf.Variable(2.0**15)):
        model = _model()
        optimizer = FusedAdam(0.05)
        optimizer.build(model.trainable_variables)
        step = TrainStep(model, loss, optimizer, 1.0, loss_scale=scale)
        norms.append(step(iter([tf.zeros((1, 4))]))[0].norm)
    assert norms == [0.0, pytest.approx(12**0.5 * 2.0**-30)]  # of 12 weights
