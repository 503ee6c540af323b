"""Presets by their names."""

import pytest

from moe_keras.plan.presets import PRESETS as PLANNED
from trainers.translator.presets import NmtConfig, preset
from translation.model.sizes import count_ops, count_parameters
from translation.text.directions import parse_directions


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="Known: phrasebook, multi30k"):
        preset("wmt17")


def test_sizes_of_the_multilingual_model_are_the_papers():
    model = preset("multilingual").model
    assert (model.gate, model.num_experts, model.experts_per_token) == (
        *("noisy_top_k", 512),
        2,
    )
    assert model.expert_hidden_dim == 8192
    # Table 5: 102 M ops a timestep and 8.7 B parameters.
    assert round(count_ops(model).total / 1e6) == 102
    assert f"{count_parameters(model).total / 1e9:.1f}" == "8.7"
    planned = PLANNED["translation_multilingual"]
    assert count_ops(model).total == pytest.approx(
        planned.dense.ops + planned.expert_ops, rel=1e-4
    )
    assert count_parameters(model).total == pytest.approx(
        planned.parameters, rel=1e-3
    )


@pytest.mark.parametrize("name", ["multilingual", "multilingual_small"])
def test_twelve_directions_and_a_dense_twin_of_equal_ops(name):
    config, twin = preset(name), preset(f"{name}_dense")
    directions = parse_directions(config.pair)
    assert len(directions) == 12
    assert set(directions.languages) == {
        *("en", "fr", "de", "ja", "ko", "pt", "es")
    }
    assert twin.pair == config.pair and twin.batches == config.batches
    assert count_ops(twin.model).total == count_ops(config.model).total


@pytest.mark.parametrize(
    "changes",
    [
        {"mixing": "0.5"},
        {"mixing": "en-fr=1"},
        {"dev_mean": "best"},
        {"dev_mean": "en-de=1"},
        {"character_coverage": 0.0},
        {"pair": "en-fr,en-fr"},
    ],
)
def test_wrong_fields_of_directions_are_refused(changes):
    [name] = changes
    with pytest.raises(ValueError, match=f"`{name}` must"):
        NmtConfig(**{"pair": "en-fr:both", **changes})
