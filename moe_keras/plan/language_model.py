"""The parameters and ops of a language model, counted from its configuration.

Unlike the paper's presets, with all biases: the numbers are those in memory.
"""

from moe_keras.plan.model import (
    LayerCost,
    Model,
    around_moe,
    linear,
    lstm,
    moe_from_config,
    softmax,
    table,
    total,
)


def language_model_from_config(name, config, tokens, candidates=None):
    """Counts a language model.

    Args:
        name: str.
        config: dict of the fields of `LanguageModelConfig`, as in
            `config.json`.
        tokens: int. Tokens of a batch.
        candidates: int or None. Candidates of a sampled softmax.

    Returns:
        `Model`.

    Raises:
        KeyError: If a field is missing.
        ValueError: If each of several experts has several hidden layers,
            which `MoE` cannot tell.
    """
    places = config["layers"].count("moe")
    deep = config["expert_hidden_layers"] > 1
    if deep and config["num_experts"] > 1:
        raise ValueError(
            "Experts of several hidden layers are counted for one expert "
            "only. Received: expert_hidden_layers="
            f"{config['expert_hidden_layers']}, "
            f"num_experts={config['num_experts']}"
        )
    dense = total(
        [
            table(config["depth"], config["vocab_size"]),
            _softmax(config, candidates),
            *config["layers"].count("lstm") * [_lstm(config)],
            *places * [around_moe(config["depth"])],
            *places * _more_hidden_layers(config),
        ]
    )
    return Model(name, dense, places * (moe_from_config(config),), tokens)


def _lstm(config):
    return lstm(config["depth"], config["lstm_units"], config["depth"])


def _more_hidden_layers(config):
    """Counts the hidden layers of a single expert behind its first."""
    width = config["expert_hidden_dim"]
    biases = LayerCost(parameters=width if config["expert_bias"] else 0)
    layer = total([linear(width, width), biases])
    return (config["expert_hidden_layers"] - 1) * [layer]


def _softmax(config, candidates):
    size = config["vocab_size"]
    scores = softmax(
        config["depth"], size, candidates, not config["share_softmax"]
    )
    return total([scores, LayerCost(parameters=size, tables=size)])
