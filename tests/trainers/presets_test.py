"""Presets and the flags that change them."""

import pytest

from trainers.presets import NmtConfig, field_paths, preset, with_overrides


def test_fields_are_found_by_name_and_by_path():
    config = with_overrides(
        NmtConfig(),
        ["num_experts=32", "loop.steps=7", "dropout=0", "pair=en-de"],
    )
    assert config.model.num_experts == 32
    assert config.loop.steps == 7
    assert config.model.dropout == 0.0
    assert config.pair == "en-de"


def test_numbers_are_read_as_people_write_them():
    config = with_overrides(
        NmtConfig(), ["learning_rate=2e-3", "prune=3", "max_minutes=5"]
    )
    assert config.loop.learning_rate == 0.002
    assert config.search.prune == 3
    assert config.loop.max_minutes == 5.0


def test_single_place_becomes_a_tuple():
    config = with_overrides(NmtConfig(), ["encoder_moe_after=1"])
    assert config.model.encoder_moe_after == (1,)


def test_no_two_fields_share_a_name():
    names = [path.split(".")[-1] for path in field_paths(NmtConfig())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "override, message",
    [
        ("experts=3", "Known fields: .*num_experts"),
        ("steps", "takes FIELD=VALUE"),
        ("steps=many", "`steps` takes a int"),
        ("dropout=much", "`dropout` takes a float"),
        ("log_every=0", "`log_every` must be above zero"),
        ("average_decay=1", "`average_decay` must be at least 0"),
        ("label_smoothing=1.5", "`label_smoothing` must be at least 0"),
        ("precision=foo", "`precision` must be one of float32"),
        ("depth=0", "`depth` must be a positive integer"),
    ],
)
def test_bad_override_is_a_clear_error(override, message):
    with pytest.raises(ValueError, match=message):
        with_overrides(NmtConfig(), [override])


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="Known: phrasebook, multi30k"):
        preset("wmt17")
