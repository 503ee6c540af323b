"""Counts of parameters and operations, against the paper and real models."""

import dataclasses

import pytest

from moe_keras.moe_config import dense_twin
from trainers.translator.presets import PRESETS
from translation.model.config import TranslatorConfig
from translation.model.sizes import count_ops, count_parameters

PAPER = PRESETS["wmt14"].model


def test_the_papers_model_has_85_million_ops():
    ops = count_ops(PAPER)
    # 5 LSTMs: (512 + 512) 4 2048 + 2048 512 = 9,437,184 each.
    assert ops.lstm == 5 * 9_437_184
    # 2 MoE layers, 4 experts a token, 2 * 512 * 2048 each.
    assert ops.experts == 2 * 4 * 2_097_152
    assert ops.softmax == 32_000 * 512
    assert ops.context == 512 * 4 * 2048
    assert ops.attention == 2 * 512 * 512
    assert round(ops.total / 1e6, 2) == 85.07


def test_the_papers_model_has_8_7_billion_parameters():
    # 2 * 2048 experts of 2,097,152 are 8.59 billion; LSTMs, embeddings,
    # gates and attention add the rest.
    total = count_parameters(PAPER).total
    assert 2 * 2048 * 2_097_152 < total
    assert round(total / 1e9, 1) == 8.7


def test_active_parameters_leave_out_the_experts_not_chosen():
    parameters = count_parameters(PAPER)
    idle = 2 * (2048 - 4) * 2_097_152
    assert parameters.total - parameters.active == idle


@pytest.mark.parametrize("name", ["phrasebook", "multi30k", "wmt14"])
def test_dense_twin_has_the_same_ops(name):
    model = PRESETS[name].model
    twin = PRESETS[f"{name}_dense"].model
    assert twin == dense_twin(model)
    assert count_ops(twin).total == count_ops(model).total


SMALL = TranslatorConfig(
    vocab_size=11, depth=6, lstm_units=6, num_experts=3, expert_hidden_dim=5,
    attention_units=4,
)  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bidirectional": False},
        {"lstm_units": 8},
        {"context_to": "first"},
        {"readout": False},
        {"share_embeddings": False},
        {"share_softmax": False},
        {"attention": "additive"},
        {"attention": "dot"},
        {"expert_bias": False},
        {"shared_hidden_dim": 7},
        {"encoder_moe_after": (1, 3), "decoder_moe_after": ()},
        {"gate": "hierarchical", "num_experts": 6, "expert_groups": 3},
        {"gate": "batchwise"},
        {"gate": "top_k"},
        {"gate": "switch", "experts_per_token": 1},
        {"gate": "bias_balanced"},
        {"gate": "threshold"},
    ],
    ids=str,
)
def test_counts_equal_those_of_the_built_model(changes):
    from trainers.translator.folder import build_model
    from trainers.translator.presets import NmtConfig

    config = dataclasses.replace(SMALL, **changes)
    model = build_model(NmtConfig(model=config))
    built = sum(
        int(variable.value.shape.num_elements())
        for variable in model.trainable_variables
    )
    assert count_parameters(config).total == built
