"""What a `config.json` of this or of another version makes."""

import dataclasses
import json
import pathlib

import pytest

from trainers.engine.config.overrides import with_overrides
from trainers.translator.fields import RULES
from trainers.translator.presets import NmtConfig
from translation.model.config import TranslatorConfig

# Written by a run of version 0.1.
EARLIER = pathlib.Path(__file__).with_name("earlier_config.json")

CONFIG = with_overrides(
    NmtConfig(), ["encoder_moe_after=1,2", "prune=2.5", "steps=7"]
)


@pytest.fixture
def values():
    return json.loads(json.dumps(dataclasses.asdict(CONFIG)))


def test_configuration_comes_back_equal(values):
    assert RULES.read(values) == CONFIG


@pytest.mark.parametrize(
    "values, message",
    [
        ([1], r"fields of NmtConfig. Received: \[1\]"),
        ({"model": 5}, "fields of TranslatorConfig. Received: 5"),
        ({"pair": 3}, "a pair that is none. Received: 3"),
        ({"loop": {"steps": None}}, "a steps that is none. Received: None"),
    ],
)
def test_what_is_no_configuration_is_told(values, message):
    with pytest.raises(ValueError, match=message):
        RULES.read(values)


def test_configuration_of_another_version_names_the_fields(values):
    values["loop"]["momentum"] = 0.9
    with pytest.raises(ValueError, match="momentum"):
        RULES.read(values)


def test_older_version_had_no_normal_form(values):
    assert RULES.read(values).normalization == "auto"
    del values["normalization"]
    assert RULES.read(values).normalization == "none"


def test_field_that_an_older_version_lacked_has_its_default(values):
    del values["model"]["encoder_moe_after"], values["search"]
    config = RULES.read(values)
    assert config.model.encoder_moe_after == TranslatorConfig.encoder_moe_after
    assert config.search == NmtConfig().search


def test_field_that_is_gone_is_passed_over_where_it_was_not_used(values):
    values["batches"]["subword_sampling"] = 0.0
    assert RULES.read(values) == CONFIG
    values["batches"]["subword_sampling"] = 0.1
    with pytest.raises(ValueError, match="subword_sampling"):
        RULES.read(values)


def test_thresholds_of_an_earlier_version_are_passed_over(values):
    values["verdicts"].update(horizon=4, fall_windows=3, dip_spread=0.35)
    assert RULES.read(values) == CONFIG


def test_configuration_of_an_earlier_run_is_read():
    values = json.loads(EARLIER.read_text())
    config = RULES.read(values)
    assert config.model.depth == 8 and config.loop.steps == 6
    assert config.search.beam_width == 2
    # Nothing of it is lost when the run goes on and writes its own.
    written = json.loads(json.dumps(dataclasses.asdict(config)))
    for name, value in values.items():
        if isinstance(value, dict):
            assert value.items() <= written[name].items()
        else:
            assert written[name] == value
