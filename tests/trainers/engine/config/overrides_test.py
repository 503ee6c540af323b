"""Fields changed by text: read as what they are declared to be, or refused."""

import dataclasses

import pytest

from trainers.engine.config.overrides import field_paths, with_overrides
from trainers.translator.presets import NmtConfig

FIELDS = field_paths(NmtConfig())


def test_fields_are_found_by_name_and_by_path():
    config = with_overrides(
        NmtConfig(),
        ["num_experts=32", "loop.steps=7", "dropout=0", "pair=en-de"],
    )
    assert config.model.num_experts == 32
    assert config.loop.steps == 7
    assert config.model.dropout == 0.0
    assert config.pair == "en-de"


def test_fields_that_go_together_may_come_in_any_order():
    texts = ["num_translations=8", "beam_width=9", "dropout=0.5"]
    for overrides in (texts, texts[::-1]):
        config = with_overrides(NmtConfig(), overrides)
        assert config.search.num_translations == 8
        assert config.search.beam_width == 9
        assert config.model.dropout == 0.5


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


def test_what_may_be_none_is_set_and_unset():
    config = with_overrides(NmtConfig(), ["prune=2", "capacity_factor=1.5"])
    assert (config.search.prune, config.model.capacity_factor) == (2, 1.5)
    assert with_overrides(config, ["prune=None"]).search.prune is None


def test_no_two_fields_share_a_name():
    names = [path.split(".")[-1] for path in FIELDS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "override, message",
    [
        ("experts=3", "Known fields: .*num_experts"),
        ("steps", "takes FIELD=VALUE"),
        ("steps=many", "`steps` takes a whole number. Received: 'many'"),
        ("steps=1e3", "`steps` takes a whole number"),
        ("seed=True", "`seed` takes a whole number"),
        ("dropout=much", "`dropout` takes a number"),
        ("adam_beta_2=nan", "`adam_beta_2` takes a number"),
        ("clip_norm=inf", "`clip_norm` takes a number"),
        ("prune=three", "`prune` takes a number, or None"),
        ("early_stop=1", "`early_stop` takes True or False"),
        ("encoder_moe_after=1,2.5", "takes whole numbers with commas between"),
        ("log_every=0", "`log_every` must be above zero"),
        ("average_decay=1", "`average_decay` must be at least 0"),
        ("adam_beta_2=2", "`adam_beta_2` must be at least 0 and below 1"),
        ("max_minutes=-5", "`max_minutes` must not be negative"),
        ("label_smoothing=1.5", "`label_smoothing` must be at least 0"),
        ("precision=foo", "`precision` must be one of float32"),
        ("depth=0", "`depth` must be a positive integer"),
        ("load_loss_weight=-1", "`load_loss_weight` must not be negative"),
    ],
)
def test_bad_override_is_a_clear_error(override, message):
    with pytest.raises(ValueError, match=message):
        with_overrides(NmtConfig(), [override])


@pytest.mark.parametrize("path", FIELDS)
def test_no_field_takes_what_it_is_not(path):
    """Whatever comes is refused by name, or of the type of the field."""
    name = path.split(".")[-1]
    for text in ("None", "abc", "[]", "-1e999"):
        try:
            config = with_overrides(NmtConfig(), [f"{name}={text}"])
        except ValueError as error:
            assert name in str(error)
            continue
        value = field_paths(config)[path]
        if name in ("prune", "capacity_factor", "shared_hidden_dim"):
            assert text == "None" and value is None
        else:
            assert type(value) is str and text == value


def test_every_field_takes_its_own_value_back():
    config = NmtConfig()
    for path, value in FIELDS.items():
        text = value if isinstance(value, str) else repr(value)
        assert with_overrides(config, [f"{path}={text}"]) == config


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NmtConfig().pair = "en-de"
