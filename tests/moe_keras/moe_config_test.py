"""One configuration of MoE layers: its checks, its layer, its dense twin."""

import dataclasses

import keras
import numpy as np
import pytest

from language_model.config import LanguageModelConfig
from moe_keras.moe_config import MoEConfig, dense_twin, make_moe
from translation.model.config import TranslatorConfig

KINDS = (MoEConfig, TranslatorConfig, LanguageModelConfig)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "field, value, message",
    [
        ("depth", 0, "`depth` must be a positive integer. Received: depth=0"),
        ("num_experts", True, "`num_experts` must be a positive integer"),
        ("importance_loss_weight", -0.1, "must not be negative"),
        ("load_loss_weight", float("nan"), "must not be negative"),
        ("moe_activation", "soft", "the name of a Keras activation"),
        ("capacity_factor", True, "None or a number above zero"),
        ("shared_hidden_dim", 0, "None or a positive integer. Received: 0"),
        ("gate", "soft", "`gate` must be one of"),
    ],
)
def test_every_model_refuses_a_field_that_does_not_fit(
    kind, field, value, message
):
    with pytest.raises(ValueError, match=message):
        kind(**{field: value})


def test_layer_has_what_the_configuration_says():
    config = MoEConfig(
        depth=3,
        num_experts=5,
        gate="top_k",
        gate_options="jitter=0.1",
        expert_hidden_dim=4,
        expert_bias=False,
        capacity_factor=1.5,
    )
    layer = make_moe(config, "mixture")
    layer(keras.ops.ones((2, 3)))
    assert (layer.name, layer.capacity_factor) == ("mixture", 1.5)
    assert (layer.gate.k, layer.gate.jitter) == (2, 0.1)
    shapes = [tuple(w.shape) for w in layer.experts.weights]
    assert shapes == [(5, 3, 4), (5, 4, 3)]


def test_every_token_visits_the_shared_expert():
    config = MoEConfig(depth=3, num_experts=5, shared_hidden_dim=4)
    layer = make_moe(config, "mixture")
    x = keras.random.normal((6, 3), seed=1)
    both = layer(x)
    shared = layer.shared_expert
    assert [tuple(w.shape) for w in shared.weights] == [
        (1, 3, 4), (1, 4), (1, 4, 3), (1, 3)
    ]  # fmt: skip
    w_in, b_in, w_out, b_out = (w.numpy()[0] for w in shared.weights)
    hidden = np.maximum(x.numpy() @ w_in + b_in, 0)
    for weight in shared.weights:
        weight.assign(keras.ops.zeros_like(weight))
    np.testing.assert_allclose(
        both - layer(x), hidden @ w_out + b_out, atol=1e-6
    )


def test_gate_that_balances_itself_gets_no_losses():
    with_losses = make_moe(MoEConfig(importance_loss_weight=0.5), "a")
    without = make_moe(MoEConfig(gate="top_k", importance_loss_weight=0.5), "b")
    assert with_losses.importance_loss_weight == 0.5
    assert without.importance_loss_weight == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_twin_has_one_expert_as_wide_as_those_of_a_token(kind):
    config = kind(num_experts=8, experts_per_token=4, expert_hidden_dim=6)
    twin = dense_twin(config)
    assert type(twin) is kind and twin.num_experts == 1
    assert twin.expert_hidden_dim == 4 * 6
    back = dataclasses.replace(
        twin, num_experts=8, experts_per_token=4, expert_hidden_dim=6
    )
    assert back == config


@pytest.mark.parametrize("kind", KINDS)
def test_twin_is_as_wide_as_shared_and_chosen_experts_together(kind):
    config = kind(
        num_experts=8,
        experts_per_token=2,
        expert_hidden_dim=6,
        shared_hidden_dim=5,
    )
    twin = dense_twin(config)
    assert twin.expert_hidden_dim == 2 * 6 + 5
    assert twin.shared_hidden_dim is None
