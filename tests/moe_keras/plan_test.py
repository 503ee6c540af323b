"""The planner against the paper's tables, real layers and brute force."""

import collections
import dataclasses
import json

import keras
import numpy as np
import pytest

import moe_keras
from moe_keras.parallel import MeshLayout
from moe_keras.plan import (
    PRESETS,
    MoE,
    Training,
    devices_needed,
    layouts,
    memory,
    plan,
    read_model,
    traffic,
)
from moe_keras.plan.__main__ import main
from moe_keras.plan.model import Model, Part
from moe_keras.plan.presets import language_model
from trainers.model_folder import ModelFolder
from trainers.presets import PRESETS as TRAINERS
from trainers.presets import NmtConfig
from translation.config import TranslatorConfig
from translation.sizes import count_ops, count_parameters

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


KINDS = {
    "adam": keras.optimizers.Adam,
    "factored_adam": moe_keras.FactoredAdam,
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


@pytest.mark.parametrize("optimizer", ["adam", "factored_adam"])
@pytest.mark.parametrize("gate", ["noisy_top_k", "hierarchical"])
def test_memory_of_a_device_is_what_a_real_layer_holds(optimizer, gate):
    sizes = MoE(4, 7, 6, k=2, gate=gate, groups=3, bias=True)
    layer = moe_keras.SparseMoE(
        6,
        hidden_dim=7,
        gate=moe_keras.HierarchicalGate(3, 2, k=(2, 1))
        if gate == "hierarchical"
        else moe_keras.NoisyTopKGate(6, k=2),
    )
    layer.build((None, 4))
    real = KINDS[optimizer]()
    real.build(layer.trainable_variables)
    model = Model("", Part(), (sizes,), tokens=10)
    (alone,) = layouts(model, 1)
    held = memory(model, alone, Training(optimizer=optimizer, average=True))
    weights = 4 * sum(int(np.prod(v.shape)) for v in layer.trainable_variables)
    assert held.expert_weights + held.other_weights == weights
    assert held.gradients == held.average == weights
    # Without the learning rate and the number of steps.
    state = sum(int(np.prod(v.shape)) for v in real.variables[2:])
    assert held.optimizer == 4 * state


@pytest.mark.parametrize("optimizer", ["adam", "factored_adam"])
@pytest.mark.parametrize(
    "shape, rules, name",
    [
        ("all:4", "batch:all;experts:all", "mesh, batch and experts"),
        ("all:4", "experts:all", "mesh, experts"),
        ("all:4", "hidden:all", "mesh, hidden"),
        ("data:2;model:2", "batch:data;experts:model", "batch 2 x experts 2"),
        (
            "model:2;inner:2",
            "experts:model;hidden:inner",
            "experts 2 x hidden 2",
        ),
    ],
)
def test_memory_of_four_devices_is_what_they_hold(
    shape, rules, name, optimizer
):
    sizes = MoE(24, 32, 12, k=2, bias=True)
    with MeshLayout(shape, rules).scope():
        layer = moe_keras.SparseMoE(12, k=2, hidden_dim=32)
        layer.build((None, 24))
    model = Model("", Part(), (sizes,), tokens=10)
    (layout,) = (x for x in layouts(model, 4) if x.name.endswith(name))
    if optimizer == "factored_adam" and layout.hidden > 1:
        pytest.skip("refused")
    real = KINDS[optimizer]()
    real.build(layer.trainable_variables)
    weights = _bytes_by_device(layer.trainable_variables)
    state = _bytes_by_device(real.variables[2:])
    for device in range(4):
        held = memory(model, layout, Training(optimizer=optimizer), device)
        planned = held.expert_weights + held.other_weights
        if layout.copies > 1 and not weights[device]:
            continue  # it reads the weights of another device, and has none
        assert weights[device] == pytest.approx(planned, rel=0.1)
        assert state[device] == pytest.approx(held.optimizer, rel=0.1)


def _bytes_by_device(variables):
    held = collections.Counter()
    for variable in variables:
        number = int(variable.value.device.rpartition(":")[-1])
        held[number] += 4 * int(np.prod(variable.shape))
    return held


def _language_model(experts=8, hidden=12):
    return language_model(
        "", experts, depth=6, units=6, hidden=hidden, vocabulary=50, tokens=240
    )


def test_shares_of_all_devices_add_up_to_the_model():
    model = _language_model()
    for devices in (2, 4, 6):
        for layout in layouts(model, devices):
            first = memory(model, layout, Training())
            other = memory(model, layout, Training(), device=1)
            held = first.expert_weights + (devices - 1) * other.expert_weights
            assert held == 4 * layout.copies * model.expert_parameters
            dense = first.other_weights + (devices - 1) * other.other_weights
            copies = devices if layout.is_mirrored else 1
            assert dense == 4 * copies * model.mirrored_parameters


def test_exchange_is_what_a_walk_over_tokens_and_experts_counts():
    model, devices = _language_model(), 4
    layout = next(x for x in layouts(model, devices) if "shared" in x.name)
    (layer,) = model.moe
    # Balanced: token n is on device n % 4, and its four of eight experts,
    # two on each device, turn round with n.
    crossed = 0
    for token in range(model.tokens):
        for choice in range(layer.k):
            expert = (token + token // 8 + 2 * choice) % layer.num_experts
            if expert // 2 != token % devices:
                crossed += 2 * layer.depth  # there and back
    counted = traffic(model, layout, Training())
    assert counted.exchange == 2 * 4 * crossed  # backward as well, 4 bytes
    halved = traffic(model, layout, Training(precision="mixed_bfloat16"))
    assert 2 * halved.exchange == counted.exchange


def test_compute_for_each_byte_grows_with_the_hidden_size_alone():
    def per_byte(depth=8, hidden=16, k=2, tokens=64):
        layer = MoE(depth, hidden, num_experts=8, k=k)
        model = Model("", Part(), (layer,), tokens)
        shared = layouts(model, 4)[1]
        return traffic(model, shared, Training()).ops_per_byte

    # Forward and backward 3 * K N 2 D H over 4 * K N D * 3/4 * 4 bytes.
    assert per_byte() == 3 * 2 * 16 / (4 * 3 / 4 * 4)
    assert per_byte(hidden=32) == 2 * per_byte()
    assert per_byte(depth=32, k=4, tokens=128) == per_byte()


def test_layouts_divide_what_they_split():
    model = _language_model(experts=6, hidden=8)
    found = {
        (x.batch, x.experts, x.hidden)
        for x in layouts(model, 4)
        if not x.is_mirrored
    }
    # Six experts in two parts, not in four; eight hidden units in 2 or 4.
    assert found == {(4, 1, 1), (1, 1, 4), (2, 2, 1), (1, 2, 2)}


def test_fewest_devices_that_fit_are_found_and_the_next_fewer_do_not():
    model = PRESETS["moe_131072_h"]
    training = Training(optimizer="factored_adam")
    needed = devices_needed(model, training, 12 * 10**9)
    assert plan(model, needed, training, 12 * 10**9).best
    assert not plan(model, needed // 2, training, 12 * 10**9).best
    # Appendix D is what makes it possible: with Adam it takes more of them.
    assert devices_needed(model, Training(), 12 * 10**9) > needed


def test_best_layout_shares_the_work_and_then_sends_little():
    few, many = _language_model(experts=4), _language_model(experts=4000)
    assert plan(few, 4, Training(tokens=10**6)).best.layout.name == "replicas"
    assert "shared out" in plan(many, 4, Training(tokens=10)).best.layout.name
    rows = plan(many, 4, Training(tokens=10), 4 * 10**6).rows
    fits = [row.fits for row in rows]
    assert {*fits} == {True, False} and fits == sorted(fits, reverse=True)


def test_program_prints_the_papers_total_and_the_layout(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--preset=moe_131072_h", "--devices=128", "--memory_gb=40"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert "137.6 B without embedding and softmax" in printed
    assert "Take: replicas, experts shared out" in printed


def test_program_says_how_many_devices_would_do(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--preset=moe_131072_h", "--devices=4", "--memory_gb=40"])
    printed = capsys.readouterr().out
    assert ended.value.code == 1
    assert "No layout of 4 devices fits 40 GB" in printed
    assert "128 devices would do." in printed


def test_program_says_when_no_number_of_devices_is_enough(capsys):
    with pytest.raises(SystemExit):
        main(["--preset=moe_4096_h", "--devices=16", "--memory_gb=1"])
    assert "No number of devices is enough" in capsys.readouterr().out


def test_json_has_all_layouts_in_bytes(capsys, tmp_path):
    path = tmp_path / "sizes.json"
    layer = {"depth": 4, "hidden_dim": 8, "num_experts": 6, "k": 2}
    path.write_text(json.dumps({"moe": [layer], "tokens": 12}))
    with pytest.raises(SystemExit):
        main([f"--config={path}", "--devices=3", "--json"])
    values = json.loads(capsys.readouterr().out)
    assert values["model"] == "sizes" and values["take"]
    # Experts 6 * 2 * 4 * 8, gate and noise 2 * 4 * 6.
    assert values["parameters"] == 384 + 48
    shared = next(x for x in values["layouts"] if "shared" in x["name"])
    assert shared["first_device"]["expert_weights"] == 4 * 384 / 3
    assert shared["exchange_bytes"] == 4 * 2 * 12 * 4 * 4 * 2 / 3


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "cannot be read"),
        ("{}", 'neither "moe" nor "model"'),
        ('{"moe": [{"depth": 4}], "tokens": 1}', "hidden_dim"),
        ('{"moe": [], "dense": {}}', "'tokens' is missing"),
        ('{"model": {}, "loop": {}}', "'batches' is missing"),
    ],
)
def test_files_that_describe_no_model_are_refused(text, said, tmp_path):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_model(path)
    with pytest.raises(SystemExit, match="error: .*model.json"):
        main([f"--config={path}"])


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
