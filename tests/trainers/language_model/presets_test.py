"""Presets: the paper's tables 7 and 8, and the names that the program has."""

import pytest

from language_model.sizes import count_sizes
from trainers.engine.config.overrides import with_overrides
from trainers.language_model.presets import PRESETS, LmConfig
from trainers.language_model.usage import PRESETS as NAMES

# Ops per timestep and parameters without embedding and softmax in millions,
# all parameters in billions, as the tables print them.
TABLE_7 = {
    "lstm_2048_512": ("9.4", "9.4", "0.8"),
    "4xlstm_512": ("8.4", "8.4", "0.8"),
    "moe_1_wide": ("8.4", "8.4", "0.8"),
    "moe_1_deep": ("8.4", "8.4", "0.8"),
    "moe_4": ("8.4", "8.4", "0.8"),
    "moe_32": ("8.4", "37.8", "0.9"),
    "moe_256_h": ("8.4", "272.9", "1.1"),
    "moe_1024_h": ("8.5", "1079.0", "1.9"),
    "moe_4096_h": ("8.9", "4303.4", "5.1"),
    "moe_34m": ("33.8", "4313.9", "6.0"),
    "moe_143m": ("142.7", "4371.1", "6.0"),
}
TABLE_8 = {
    "news_4xlstm_512": ("8.4", "8.4"),
    "news_moe_32": ("8.4", "37.8"),
    "news_moe_256_h": ("8.4", "272.9"),
    "news_moe_1024_h": ("8.5", "1079.0"),
    "news_moe_4096_h": ("8.6", "4303.4"),
    "moe_16384_h": ("8.8", "17201.0"),
    "moe_65536_h": ("9.2", "68791.0"),
    "moe_131072_h": ("9.7", "137577.6"),
}
# Of MoE-1-Wide: two LSTMs of 8 D D and a dense layer of 2 D 4 H, where H = 2 D.
BUDGETS = {"small": 32 * 128**2, "medium": 32 * 256**2, "large": 32 * 512**2}


def _printed(name):
    sizes = count_sizes(PRESETS[name].model)
    return (
        f"{sizes.ops / 1e6:.1f}",
        f"{sizes.parameters / 1e6:.1f}",
        f"{sizes.total / 1e9:.1f}",
    )


@pytest.mark.parametrize("name", TABLE_7)
def test_row_of_table_7(name):
    ops, parameters, total = _printed(name)
    assert (ops, parameters) == TABLE_7[name][:2]
    # Totals: the paper rounds 0.85, 5.94 and 5.999 billion up, 0.82 down.
    assert abs(float(total) - float(TABLE_7[name][2])) < 0.11


def test_moe_256_has_the_ops_that_the_table_cuts_to_8_6():
    # 2 LSTMs of 2,097,152, 4 experts of 1,048,576, two gate kernels of
    # 512 * 256: 8,650,752, which the paper prints as 8.6.
    assert count_sizes(PRESETS["moe_256"].model).ops == 8_650_752
    assert _printed("moe_256")[1] == "272.9"


@pytest.mark.parametrize("name", TABLE_8)
def test_row_of_table_8(name):
    ops, parameters, _ = _printed(name)
    assert (ops, parameters) == TABLE_8[name]


@pytest.mark.parametrize("budget, ops", BUDGETS.items())
def test_ladder_has_equal_ops(budget, ops):
    ladder = [name for name in PRESETS if name.startswith(f"{budget}_")]
    assert len(ladder) == 10
    for name in ladder:
        # Gates come on top, of flat ones 2 x D for each expert: a quarter for
        # 256 in the narrowest ladder.
        most = 1.26 if name == "small_moe_256" else 1.2
        assert 0.99 < count_sizes(PRESETS[name].model).ops / ops < most, name


def test_131072_small_experts_are_half_a_billion_parameters():
    # 131,072 experts of 2 x 64 x 32, and LSTMs and gates beside them.
    sizes = count_sizes(PRESETS["many_moe_131072_h"].model)
    assert 131_072 * 2 * 64 * 32 == 536_870_912
    # Two LSTMs of 2 x 64 x 4 x 64; gates of 64 x (256 + 256 x 512), whose
    # noise has kernels as large.
    lstms, gates = 2 * 32_768, 64 * (256 + 131_072)
    found = sizes.parameters - 536_870_912 - lstms
    assert found in (gates, 2 * gates)


def test_layers_are_set_by_their_names():
    config = with_overrides(LmConfig(), ["layers=lstm,lstm,moe"])
    assert config.model.layers == ("lstm", "lstm", "moe")
    again = with_overrides(LmConfig(), [f"layers={config.model.layers!r}"])
    assert again == config


def test_program_knows_the_names_of_all_presets():
    assert tuple(PRESETS) == NAMES


@pytest.mark.parametrize(
    "field, value",
    [
        ("vocabulary_kind", "letters"),
        ("softmax", "half"),
        ("sampled_candidates", 0),
        ("dev_lines", -1),
        ("precision", "int8"),
    ],
)
def test_fields_out_of_range_are_named(field, value):
    with pytest.raises(ValueError, match=f"`{field}`"):
        LmConfig(**{field: value})
