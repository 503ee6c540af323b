"""Counted sizes: the paper's tables 7 and 8, and built models."""

import dataclasses

import numpy as np
import pytest

from language_model.config import LanguageModelConfig
from language_model.model import LanguageModel
from language_model.sizes import count_sizes
from moe_keras.moe_config import dense_twin


def test_counts_are_those_of_a_built_model():
    config = LanguageModelConfig(
        vocab_size=11,
        depth=4,
        lstm_units=6,
        num_experts=5,
        experts_per_token=2,
        expert_hidden_dim=3,
    )
    model = LanguageModel(config)
    model(np.ones((1, 2), "int32"))
    kernels = sum(
        int(np.prod(weight.shape))
        for weight in model.trainable_variables
        if not weight.name.startswith("bias")
    )
    assert count_sizes(config).total == kernels


def test_dense_twin_has_the_same_ops_but_for_the_gate():
    config = LanguageModelConfig(num_experts=16, experts_per_token=4)
    gate = 2 * config.depth * 16
    assert count_sizes(dense_twin(config)).ops == count_sizes(config).ops - gate


def test_shared_softmax_is_counted_once():
    config = LanguageModelConfig(vocab_size=100, depth=8, share_softmax=True)
    assert count_sizes(config).tables == 800


@pytest.mark.parametrize(
    "field, value",
    [
        ("layers", ("lstm", "gru")),
        ("layers", ()),
        ("depth", 0),
        ("dropout", 1.0),
        ("experts_per_token", 33),
        ("gate", "best"),
        ("gate_options", "colour=3"),
    ],
)
def test_fields_out_of_range_are_named(field, value):
    with pytest.raises(ValueError, match=field.split("_")[0]):
        LanguageModelConfig(**{field: value})


def test_shared_expert_counts_for_every_token():
    config = LanguageModelConfig(depth=8, num_experts=4, expert_hidden_dim=6)
    shared = dataclasses.replace(config, shared_hidden_dim=5)
    more = 2 * 8 * 5  # two kernels
    plain, found = count_sizes(config), count_sizes(shared)
    assert found.ops == plain.ops + more
    assert found.parameters == plain.parameters + more
    assert found.active == plain.active + more
    assert count_sizes(dense_twin(shared)).ops == found.ops - 2 * 8 * 4
