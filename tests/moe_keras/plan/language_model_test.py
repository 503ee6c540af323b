"""Language models of `trainers.lm`, as planned and as built."""

import dataclasses

import pytest

from language_model.config import LanguageModelConfig
from language_model.sizes import count_sizes
from moe_keras.plan import read_model
from moe_keras.plan.__main__ import main
from trainers.language_model.folder import LmFolder, build_model
from trainers.language_model.presets import PRESETS, LmConfig

CONFIG = LmConfig(
    model=LanguageModelConfig(
        vocab_size=31,
        depth=6,
        lstm_units=6,
        num_experts=4,
        expert_hidden_dim=5,
        experts_per_token=2,
    )
)


def planned(config, folder):
    LmFolder(folder).save_config(config)
    return read_model(folder / "config.json")


def changed(**changes):
    return dataclasses.replace(
        CONFIG, model=dataclasses.replace(CONFIG.model, **changes)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lstm_units": 8, "share_softmax": True},
        {"layers": ("moe", "lstm", "moe"), "expert_bias": True},
        {"layers": ("lstm", "lstm")},
        {"gate": "hierarchical", "expert_groups": 2},
        {"shared_hidden_dim": 7},
        {
            "num_experts": 1,
            "experts_per_token": 1,
            "expert_hidden_layers": 3,
            "expert_bias": True,
        },
    ],
    ids=str,
)
def test_parameters_are_those_of_the_built_model(changes, tmp_path):
    config = changed(**changes)
    model, _ = planned(config, tmp_path)
    built = sum(
        int(variable.value.shape.num_elements())
        for variable in build_model(config).trainable_variables
    )
    assert model.parameters == built


def test_ops_are_those_of_the_papers_tables(tmp_path):
    config = PRESETS["moe_1024_h"]
    model, training = planned(config, tmp_path)
    sizes = count_sizes(config.model)
    ops = model.mirrored_ops + model.expert_ops - model.dense.softmax_ops
    assert ops == sizes.ops
    assert model.dense.softmax_ops == 512 * 8192  # the sampled candidates
    assert model.tokens == 300_000 // 32 * 32
    assert training.optimizer == "factored_adam"


def test_lazy_optimizer_is_planned_as_the_plain_one(tmp_path, capsys):
    _, training = planned(PRESETS["many_moe_131072_h"], tmp_path)
    assert (training.optimizer, training.average) == ("factored_adam", False)
    with pytest.raises(SystemExit) as ended:
        main([f"--config={tmp_path / 'config.json'}", "--devices=4"])
    assert ended.value.code == 0
    assert "131,072 experts 64 -> 32 -> 64" in capsys.readouterr().out


def test_several_deep_experts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expert_hidden_layers=2"):
        planned(changed(expert_hidden_layers=2), tmp_path)


def test_half_precision_is_read(tmp_path):
    config = dataclasses.replace(CONFIG, precision="mixed_float16")
    assert planned(config, tmp_path)[1].activation_bytes == 2
