"""Bad configurations are refused when they are made."""

import pytest

from translation.model.config import TranslatorConfig


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"depth": 0}, "`depth` must be a positive integer. Received: depth=0"),
        ({"lstm_units": 2.5}, "`lstm_units` must be a positive integer"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1"),
        ({"attention": "soft"}, "`attention` must be one of product"),
        ({"context_to": "none"}, "`context_to` must be one of first, all"),
        ({"encoder_moe_after": (4,)}, "from 1 to encoder_layers=3"),
        ({"encoder_moe_after": (2, 2)}, "each once"),
        ({"encoder_moe_after": ("a",)}, "each once"),
        ({"moe_activation": "foo"}, "foo"),
        ({"capacity_factor": "foo"}, "`capacity_factor` must be None or"),
        ({"capacity_factor": 0}, "`capacity_factor` must be None or"),
        ({"experts_per_token": 17}, "must not exceed `num_experts`"),
        ({"gate": "soft"}, "`gate` must be one of batchwise, bias_"),
        ({"gate": "switch"}, "`experts_per_token` must be 1"),
        (
            {"gate": "hierarchical", "expert_groups": 3},
            "`expert_groups` must divide `num_experts`",
        ),
        (
            {"gate": "hierarchical", "groups_per_token": 2},
            "and not exceed `expert_groups`",
        ),
        ({"depth": 5, "lstm_units": 4}, "must be even when `bidirectional`"),
    ],
)
def test_bad_field_is_named(fields, message):
    with pytest.raises(ValueError) as error:
        TranslatorConfig(**fields)
    assert message in str(error.value)


def test_lists_from_json_become_tuples():
    config = TranslatorConfig(encoder_moe_after=[1, 2])
    assert config.encoder_moe_after == (1, 2)
    assert hash(config) == hash(TranslatorConfig(encoder_moe_after=(1, 2)))


def test_lstm_as_wide_as_the_model_needs_no_projection():
    assert TranslatorConfig(depth=8, lstm_units=8).projection_dim is None
    assert TranslatorConfig(depth=8, lstm_units=16).projection_dim == 8
