"""Published transformers: totals and active parameters, as their papers say."""

import numpy as np
import pytest

from moe_keras import GatedFeedForwardExperts, SparseMoE, TopKGate
from moe_keras.plan import PRESETS, MoE
from moe_keras.plan.transformers import (
    TRANSFORMERS,
    attention,
    transformer,
)

# Billions of parameters: in all, and those that a token uses, as published;
# None where a paper gives none.
PUBLISHED = {
    "mixtral_8x7b": ("46.7", "12.9"),
    "mixtral_8x22b": ("141", "39"),
    "qwen1.5_moe_a2.7b": ("14.3", "2.7"),
    "qwen3_30b_a3b": ("30.5", "3.3"),
    "qwen3_235b_a22b": ("235", "22"),
    "olmoe_1b_7b": ("6.9", "1.3"),
    "deepseek_moe_16b": ("16.4", "2.8"),
    "deepseek_v3": ("671", "37"),
    "gpt_oss_20b": ("20.91", "3.61"),
    "gpt_oss_120b": ("116.83", "5.13"),
    "glam_64b_64e": ("1162", "96.6"),
    "glam_8b_64e": ("143", "9.8"),
    "glam_1.7b_64e": ("27", "1.879"),
    "switch_base": ("7.4", None),
    "switch_large": ("26.3", None),
    "switch_xxl": ("395", None),
    "switch_c": ("1571", None),
}
# Of these the published active parameters leave out the embedding.
WITHOUT_EMBEDDING = ("deepseek_v3", "gpt_oss_20b", "gpt_oss_120b")


def agrees(number, published):
    """Whether they differ by less than a unit of the last digit.

    Some papers round, and some cut off: 3.35 is 3.3 to Qwen3.
    """
    unit = 10.0 ** -len(published.partition(".")[2])
    return abs(number / 1e9 - float(published)) < unit


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_paper(name):
    model = PRESETS[name]
    total, active = PUBLISHED[name]
    assert agrees(model.parameters, total)
    if active is not None:
        used = model.active_parameters
        if name in WITHOUT_EMBEDDING:
            used -= model.dense.tables // 2
        assert agrees(used, active)


def test_every_preset_has_a_published_count():
    assert {model.name for model in TRANSFORMERS} == set(PUBLISHED)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shared_gate", [False, True])
def test_layer_is_counted_as_it_is_built(bias, shared_gate):
    counted = MoE(
        6, 5, 4, 2, "top_k",
        bias=bias, gate_bias=bias, gated=True,
        shared_hidden_dim=7, shared_gate=shared_gate,
    )  # fmt: skip
    layer = SparseMoE(
        4,
        gate=TopKGate(4, k=2, use_bias=bias),
        expert=GatedFeedForwardExperts(4, 5, use_bias=bias),
        shared_expert=GatedFeedForwardExperts(1, 7, use_bias=bias),
        shared_gate="sigmoid" if shared_gate else None,
    )
    layer(np.ones((2, 6), "float32"))
    parts = (
        (counted.expert_parameters, layer.experts),
        (counted.gate_parameters, layer.gate),
        (counted.shared_parameters, layer.shared),
    )
    for number, part in parts:
        weights = part.trainable_variables
        assert number == sum(np.size(weight) for weight in weights)
    assert counted.active_parameters == counted.expert_parameters // 2


def test_decoder_is_counted_as_keras_hub_builds_it():
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.MixtralBackbone(
        vocabulary_size=40,
        num_layers=3,
        intermediate_dim=12,
        hidden_dim=16,
        num_query_heads=4,
        num_key_value_heads=2,
        num_experts=6,
        top_k=2,
    )
    moe = MoE(16, 12, 6, 2, "top_k", gated=True)
    model = transformer("", 3 * [attention(16, 4, 2, 4)], 40, 3 * [moe])
    assert model.parameters == backbone.count_params()
