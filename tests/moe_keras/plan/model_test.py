"""Sizes of models against the paper's tables and real translators."""

import dataclasses

import pytest

from moe_keras.plan import (
    PRESETS,
    MoE,
    Training,
    layouts,
    read_model,
)
from moe_keras.plan.presets import language_model
from trainers.translator.folder import ModelFolder
from trainers.translator.presets import PRESETS as TRAINERS
from trainers.translator.presets import NmtConfig
from translation.model.config import TranslatorConfig
from translation.model.sizes import count_ops, count_parameters

# Tables 7 and 8: millions of parameters without embedding and softmax, and
# millions of multiply-adds for a token without the softmax.
PAPER = {
    "moe_4": (8.4, 8.4),
    "moe_32": (37.8, 8.4),
    "moe_256": (272.9, 8.6),
    "moe_256_h": (272.9, 8.4),
    "moe_1024_h": (1079.0, 8.5),
    "moe_4096_h": (4303.4, 8.9),
    "moe_34m": (4313.9, 33.8),
    "moe_143m": (4371.1, 142.7),
    "moe_16384_h": (17201.0, 8.8),
    "moe_65536_h": (68791.0, 9.2),
    "moe_131072_h": (137577.6, 9.7),
}


def _millions_of_ops(model):
    ops = model.mirrored_ops + model.expert_ops
    return (ops - model.dense.softmax_ops) / 1e6


@pytest.mark.parametrize("name", PAPER)
def test_totals_of_the_language_models_are_the_papers(name):
    model = PRESETS[name]
    parameters, ops = PAPER[name]
    # In full for MoE-4096-h: 4096 * 2 * 512 * 1024 of experts, two LSTMs of
    # (512 + 512) * 4 * 512, gates of 2 * 512 * (16 + 4096).
    assert round(model.parameters_without_tables / 1e6, 1) == parameters
    assert _millions_of_ops(model) == pytest.approx(ops, abs=0.051)


@pytest.mark.parametrize(
    "experts, groups, parameters, ops, total",
    [
        (32, 1, 37.8, 8.4, 0.1),
        (256, 32, 272.9, 8.4, 0.4),
        (1024, 32, 1079.0, 8.5, 1.2),
        (4096, 64, 4303.4, 8.6, 4.4),
        (16_384, 128, 17201.0, 8.8, 17.3),
        (65_536, 256, 68791.0, 9.2, 68.9),
        (131_072, 256, 137577.6, 9.7, 137.7),
    ],
)
def test_table_8_leaves_our_guess_of_its_vocabulary(
    experts, groups, parameters, ops, total
):
    model = language_model("", experts, groups, vocabulary=100_000)
    assert round(model.parameters_without_tables / 1e6, 1) == parameters
    assert _millions_of_ops(model) == pytest.approx(ops, abs=0.051)
    assert round(model.parameters / 1e9, 1) == total


def test_translation_models_have_8_7_billion_parameters():
    for name, ops in (
        ("translation_moe_2048", 85.07),
        ("translation_multilingual", 101.84),
    ):
        model = PRESETS[name]
        assert round(model.parameters / 1e9, 1) == 8.7
        gates = sum(layer.gate_ops for layer in model.moe)
        counted = model.mirrored_ops - gates + model.expert_ops
        assert round(counted / 1e6, 2) == ops


@pytest.mark.parametrize(
    "changes",
    [
        {"lstm_units": 6},
        {"lstm_units": 8, "bidirectional": False, "context_to": "first"},
        {"readout": False, "share_embeddings": False, "share_softmax": False},
        {"attention": "dot", "expert_bias": False},
        {"gate": "hierarchical", "expert_groups": 3, "groups_per_token": 2},
        {"gate": "batchwise", "encoder_moe_after": (1, 3)},
        {"gate": "top_k", "decoder_moe_after": ()},
        {"gate": "top_k", "gate_options": "use_bias=True"},
    ],
    ids=str,
)
def test_model_folder_counts_as_the_translator_does(changes, tmp_path):
    config = TranslatorConfig(
        vocab_size=11, depth=6, num_experts=6,
        expert_hidden_dim=5, attention_units=4, **changes,
    )  # fmt: skip
    ModelFolder(tmp_path).save_config(NmtConfig(model=config))
    model, _ = read_model(tmp_path / "config.json")
    ops = count_ops(config)
    assert model.parameters == count_parameters(config).total
    assert model.mirrored_ops + model.expert_ops == ops.total + ops.gates
    assert model.expert_ops == ops.experts


def test_model_folder_tells_how_it_is_trained(tmp_path):
    preset = TRAINERS["multi30k"]
    loop = dataclasses.replace(
        preset.loop, optimizer="factored_adam", accumulate_steps=2
    )
    config = dataclasses.replace(preset, loop=loop, precision="mixed_bfloat16")
    ModelFolder(tmp_path).save_config(config)
    model, training = read_model(tmp_path / "config.json")
    assert model.tokens == preset.batches.tokens_per_batch
    assert training == Training(
        optimizer="factored_adam",
        average=True,
        accumulate=True,
        precision="mixed_bfloat16",
    )


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: MoE(4, 0, 2), "`hidden_dim` must be a positive integer"),
        (lambda: MoE(4, 8, 2, k=3), "`k` must not exceed `num_experts`"),
        (lambda: MoE(4, 8, 6, gate="best"), "`gate` must be one of"),
        (lambda: Training(optimizer="sgd"), "`optimizer` must be one of"),
        (lambda: Training(tokens=0), "`tokens` must be at least 1"),
        (lambda: layouts(PRESETS["moe_4"], 0), "`devices` must be a positive"),
    ],
)
def test_sizes_out_of_range_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
