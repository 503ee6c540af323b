"""Balancing losses: their weights, and where they can be added at all."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from moe_keras import (
    BiasBalancedGate,
    LossWeightSchedule,
    NoisyTopKGate,
    SparseMoE,
    SwitchGate,
    TopKGate,
)

D = 5
X = np.random.default_rng(0).normal(size=(16, 6, D)).astype("float32")


def layer_of(**kwargs):
    return SparseMoE(4, k=2, hidden_dim=8, seed=0, **kwargs)


def compiled(*layers, shape=(6, D), rate=0.0, **kwargs):
    inputs = outputs = keras.Input(shape)
    for layer in layers:
        outputs = layer(outputs)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(rate), "mse", **kwargs)
    return model


class Cell(keras.layers.Layer):
    """`h = MoE(x + h)`."""

    state_size = D

    def __init__(self, moe):
        super().__init__()
        self.moe = moe

    def build(self, shape):
        self.moe.build((shape[0], D))

    def call(self, x, states, training=False):
        h = self.moe(x + states[0], training=training)
        return h, [h]


NO_LOSS = {"importance_loss_weight": 0.0, "load_loss_weight": 0}


class TestWeights:
    def test_weights_set_while_training_take_effect(self):
        layer = layer_of(importance_loss_weight=0.5, load_loss_weight=0.5)

        def anneal(epoch, logs):
            layer.importance_loss_weight = 1e4 * epoch
            layer.load_loss_weight = 0.0

        history = (
            compiled(layer)
            .fit(
                X,
                X,
                epochs=3,
                verbose=0,
                callbacks=[
                    keras.callbacks.LambdaCallback(on_epoch_begin=anneal)
                ],
            )
            .history
        )
        # The rest of the loss is of the size of 1, CV squared at least 1e-3.
        assert history["loss"][0] < 10
        assert history["loss"][1] > 10
        figures = history[f"{layer.path}_balancing_loss"]
        assert figures[0] == 0
        np.testing.assert_allclose(
            figures[1:], np.subtract(history["loss"][1:], 1), rtol=0.2
        )

    def test_loss_is_linear_in_a_weight_that_changes(self):
        layer = layer_of(load_loss_weight=0.0)
        run = tf.function(lambda x: _loss_of(layer, x), autograph=False)
        keras.utils.set_random_seed(0)
        layer.build((None, None, D))
        layer.gate.gate_kernel.assign(np.eye(D, 4) * 50)
        # One feature is far ahead: no noise changes a choice.
        x = np.float32(np.eye(D)[np.arange(12) % 3])
        losses = []
        for weight in (0.1, 0.2, 1.0):
            layer.importance_loss_weight = weight
            losses.append(float(run(x)) / weight)
        np.testing.assert_allclose(losses, losses[0], rtol=0.05)
        assert losses[0] > 0
        layer.importance_loss_weight = 0.0
        assert float(run(x)) == 0

    def test_changed_weights_are_saved(self, tmp_path):
        layer = layer_of(load_loss_weight=0.3)
        model = compiled(layer)
        layer.load_loss_weight, layer.importance_loss_weight = 0.7, 0.0
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras").layers[1]
        assert again.load_loss_weight == 0.7
        assert again.importance_loss_weight == 0.0

    def test_default_stays_a_default_in_the_config(self):
        config = layer_of().get_config()
        assert config["importance_loss_weight"] is None
        assert layer_of().importance_loss_weight == 0.1
        gate = BiasBalancedGate(4, k=2)
        layer = SparseMoE(4, gate=gate, hidden_dim=8)
        assert layer.load_loss_weight == 0.0

    @pytest.mark.parametrize("is_built", [False, True])
    def test_weight_of_0_may_be_raised_before_training(self, is_built):
        layer, other = layer_of(**NO_LOSS), layer_of(load_loss_weight=0.5)
        model = compiled(layer)  # builds it
        assert layer.built and layer.balancing_losses == ()
        if not is_built:
            layer = layer_of(**NO_LOSS)
        layer.load_loss_weight = 0.5
        layer.importance_loss_weight = 0.1
        assert layer.balancing_losses == (
            "load_loss_weight",
            "importance_loss_weight",
        )
        model, expected = compiled(layer), compiled(other)
        layer.gate.gate_kernel.assign(other.gate.gate_kernel)
        losses = [
            m.fit(X, X, batch_size=16, verbose=0, shuffle=False).history[
                f"{m.layers[1].path}_balancing_loss"
            ]
            for m in (model, expected)
        ]
        assert losses[0] == losses[1] != [0.0]

    def test_weight_of_0_may_be_raised_at_any_time_in_eager_mode(self):
        layer = layer_of(**NO_LOSS)
        assert not (layer(X, training=True) is None or layer.losses)
        layer.importance_loss_weight = 2.0
        layer(X, training=True)
        assert float(layer.losses[0]) > 0

    def test_weight_that_a_graph_left_out_cannot_be_raised(self):
        layer = layer_of(load_loss_weight=0.0)
        compiled(layer).fit(X, X, verbose=0)
        with pytest.raises(ValueError, match="`load_loss_weight` was 0 when a"):
            layer.load_loss_weight = 0.1
        assert layer.load_loss_weight == 0.0
        layer.load_loss_weight = 0.0
        with pytest.raises(ValueError, match="`importance_loss_weight` must"):
            layer.importance_loss_weight = -1.0

    def test_schedule_sets_weights_of_every_step_and_goes_on(self):
        layer = layer_of(importance_loss_weight=1.0, load_loss_weight=0.0)
        seen = []
        recorder = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: seen.append(
                layer.importance_loss_weight
            )
        )
        schedule = LossWeightSchedule(
            importance_loss_weight=keras.optimizers.schedules.PolynomialDecay(
                1.0, decay_steps=10, end_learning_rate=0.0
            ),
            load_loss_weight=lambda step: 5.0,  # this layer has no such loss
        )
        model = compiled(layer)
        for _ in range(2):
            model.fit(
                X,
                X,
                batch_size=8,
                epochs=2,
                verbose=0,
                callbacks=[schedule, recorder],
            )
        np.testing.assert_allclose(seen, 1 - np.arange(8) / 10, rtol=1e-6)
        assert layer.load_loss_weight == 0.0

    def test_schedule_that_is_no_function_is_refused(self):
        with pytest.raises(ValueError, match="`load_loss_weight` must be a fu"):
            LossWeightSchedule(load_loss_weight=0.1)

    def test_schedule_raises_a_weight_that_is_0_by_now(self):
        layer = layer_of()
        layer.importance_loss_weight = 0.0
        schedule = LossWeightSchedule(importance_loss_weight=lambda step: 0.3)
        compiled(layer).fit(X, X, verbose=0, callbacks=[schedule])
        assert layer.importance_loss_weight == 0.3

    def test_two_replicas_see_a_changed_weight(self, two_replicas):
        with two_replicas.scope():
            layer = layer_of(load_loss_weight=0.0)
            model = compiled(layer)
        layer.importance_loss_weight = 0.0
        logs = model.fit(X, X, verbose=0).history
        assert logs[f"{layer.path}_balancing_loss"] == [0.0]
        layer.importance_loss_weight = 3.0
        logs = model.fit(X, X, verbose=0).history
        assert logs[f"{layer.path}_balancing_loss"][0] > 0


def _loss_of(layer, x):
    layer(x, training=True)
    return tf.add_n(layer.losses)


class TestFixedArguments:
    @pytest.mark.parametrize(
        ("gate", "name", "value"),
        [
            (lambda: NoisyTopKGate(4, k=2), "k", 1),
            (lambda: TopKGate(4, k=2), "balance_loss_weight", 0.0),
            (lambda: SwitchGate(4), "z_loss_weight", 1.0),
        ],
    )
    def test_argument_of_a_built_gate_cannot_be_changed(
        self, gate, name, value
    ):
        gate = gate()
        setattr(gate, name, value)
        assert gate.get_config()[name] == value
        gate(X[0])
        setattr(gate, name, value)  # nothing changes
        with pytest.raises(AttributeError, match=f"`{name}` of .* is fixed"):
            setattr(gate, name, 2 + value)

    @pytest.mark.parametrize(
        "name", ["k", "capacity_factor", "hidden_dim", "log_figures"]
    )
    def test_argument_of_a_built_layer_cannot_be_changed(self, name):
        layer = layer_of()
        layer(X)
        with pytest.raises(AttributeError, match=f"`{name}` of .* is fixed"):
            setattr(layer, name, 7)


class TestInLoops:
    def test_cell_without_losses_trains(self):
        model = compiled(keras.layers.RNN(Cell(layer_of(**NO_LOSS))))
        assert np.isfinite(model.fit(X, X[:, 0], verbose=0).history["loss"])

    def test_layer_without_losses_adds_none(self):
        for gate in (NoisyTopKGate(4, k=2), TopKGate(4, k=2, **_no_loss_of())):
            layer = SparseMoE(4, gate=gate, hidden_dim=8, **NO_LOSS)
            losses = []

            @tf.function(autograph=False)
            def run(x, layer=layer, losses=losses):
                layer(x, training=True)
                losses.extend(layer.losses)

            run(X)
            assert losses == []

    def test_cell_with_losses_is_told_what_to_do(self):
        model = compiled(keras.layers.RNN(Cell(layer_of())))
        with pytest.raises(ValueError, match="within a loop.*unroll=True"):
            model.fit(X, X[:, 0], verbose=0)

    @pytest.mark.slow
    def test_unrolled_cell_trains_with_losses(self):
        model = compiled(keras.layers.RNN(Cell(layer_of()), unroll=True))
        assert np.isfinite(model.fit(X, X[:, 0], verbose=0).history["loss"])

    def test_several_steps_a_call_have_losses(self):
        """The whole step is within a loop, and its losses are read there."""
        model = compiled(layer_of(), steps_per_execution=2)
        logs = model.fit(X, X, batch_size=4, verbose=0).history
        assert np.isfinite(logs["loss"])

    @pytest.mark.slow
    def test_time_distributed_is_refused_when_it_would_add_losses(self):
        model = compiled(keras.layers.TimeDistributed(layer_of()))
        with pytest.raises(ValueError, match="Leave the wrapper out"):
            model.fit(X, X, verbose=0)
        model.predict(X, verbose=0)
        model = compiled(keras.layers.TimeDistributed(layer_of(**NO_LOSS)))
        model.fit(X, X, verbose=0)


def _no_loss_of():
    return {"balance_loss_weight": 0.0, "z_loss_weight": 0.0}
