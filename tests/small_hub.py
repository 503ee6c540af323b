"""Small keras-hub models with random weights, one of each family."""

import keras
import keras_hub
import numpy as np
import pytest

VOCABULARY = 40
LENGTH = 8
SIZES = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "hidden_dim": 16,
    "num_experts": 6,
}


def mixtral(**sizes):
    backbone = keras_hub.models.MixtralBackbone(
        **{**SIZES, "intermediate_dim": 12, "top_k": 2, **sizes}
    )
    return keras_hub.models.MixtralCausalLM(
        backbone=backbone, preprocessor=None
    )


def qwen_moe(**sizes):
    sizes = {
        **SIZES,
        "intermediate_dim": 20,
        "moe_intermediate_dim": 12,
        "shared_expert_intermediate_dim": 10,
        "top_k": 3,
        **sizes,
    }
    backbone = keras_hub.models.QwenMoeBackbone(**sizes)
    return keras_hub.models.QwenMoeCausalLM(
        backbone=backbone, preprocessor=None
    )


def qwen3_moe(**sizes):
    sizes = {
        **SIZES,
        "intermediate_dim": 20,
        "moe_intermediate_dim": 12,
        "head_dim": 8,
        "top_k": 2,
        "norm_top_k_prob": True,
        **sizes,
    }
    backbone = keras_hub.models.Qwen3MoeBackbone(**sizes)
    return keras_hub.models.Qwen3MoeCausalLM(
        backbone=backbone, preprocessor=None
    )


def qwen3_5_moe(**sizes):
    sizes = {
        **SIZES,
        "head_dim": 8,
        "moe_intermediate_dim": 12,
        "shared_expert_intermediate_size": 10,
        "top_k": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 4,
        "linear_value_head_dim": 4,
        **sizes,
    }
    backbone = keras_hub.models.Qwen3_5MoeBackbone(**sizes)
    return keras_hub.models.Qwen3_5MoeCausalLM(
        backbone=backbone, preprocessor=None
    )


def gpt_oss(**sizes):
    sizes = {**SIZES, "intermediate_dim": 12, "top_k": 3, **sizes}
    backbone = keras_hub.models.GptOssBackbone(**sizes)
    return keras_hub.models.GptOssCausalLM(backbone=backbone, preprocessor=None)


def gemma4(**sizes):
    sizes = {
        **SIZES,
        "image_size": 16,
        "head_dim": 8,
        "intermediate_dim": 20,
        "enable_moe_block": True,
        "expert_intermediate_dim": 12,
        "num_experts_per_token": 2,
        "sliding_window_size": 4,
        "layer_types": ["sliding_attention", "full_attention"],
        **sizes,
    }
    backbone = keras_hub.models.Gemma4Backbone(**sizes)
    return keras_hub.models.Gemma4CausalLM(backbone=backbone, preprocessor=None)


FAMILIES = {
    "mixtral": mixtral,
    "qwen_moe": qwen_moe,
    "qwen3_moe": qwen3_moe,
    "qwen3_5_moe": qwen3_5_moe,
    "gpt_oss": gpt_oss,
    "gemma4": gemma4,
}


# Where a test traces a graph: keras-hub's own layers of two families take long.
TRACED = [
    pytest.param(family, marks=pytest.mark.slow)
    if family in ("qwen3_5_moe", "gemma4")
    else family
    for family in FAMILIES
]


def make(family, seed=0, **sizes):
    """A model whose weights are all random, norms and biases included."""
    model = FAMILIES[family](**sizes)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        noise = rng.normal(scale=0.3, size=weight.shape)
        centre = 1.0 if weight.ndim < 2 and "bias" not in weight.name else 0.0
        weight.assign(centre + noise)
    return model


def batch(family, seed=1, lengths=(LENGTH, 5, 3)):
    """Rows of ids with padding behind, of different lengths."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, VOCABULARY, (len(lengths), LENGTH)).astype("int32")
    inputs = {
        "token_ids": ids,
        "padding_mask": np.arange(LENGTH) < np.array(lengths)[:, None],
    }
    if family == "gemma4":
        inputs["position_ids"] = np.tile(
            np.arange(LENGTH, dtype="int32"), (len(lengths), 1)
        )
    return inputs


def training_data(family):
    """Inputs, targets and weights, as the preprocessors make them."""
    inputs = batch(family)
    targets = np.roll(inputs["token_ids"], -1, axis=1)
    return inputs, targets, inputs["padding_mask"].astype("float32")


def compiled(model, **arguments):
    """The model, ready to train with plain SGD and to generate greedily."""
    model.compile(keras.optimizers.SGD(0.1), sampler="greedy", **arguments)
    return model


def expert_weights(model):
    """The kernels of the experts, layer by layer: `(E, ...)` of rank 3."""
    return [
        weight
        for weight in model.weights
        if weight.ndim == 3 and weight.shape[0] == SIZES["num_experts"]
    ]


def experts_per_token(model):
    config = model.backbone.get_config()
    return config.get("top_k") or config["num_experts_per_token"]
