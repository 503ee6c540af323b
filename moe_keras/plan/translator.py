"""The parameters and ops of the translator, counted from its configuration.

`translation.model.sizes` shows the same counts for a `TranslatorConfig`.
"""

from moe_keras.plan.model import (
    LayerCost,
    Model,
    around_moe,
    linear,
    lstm,
    moe_from_config,
    total,
)


def translator_from_config(name, config, tokens):
    """Counts a translator.

    Args:
        name: str.
        config: dict of the fields of `TranslatorConfig`, as in `config.json`.
        tokens: int. Tokens of a batch on each side.

    Returns:
        `Model`.

    Raises:
        KeyError: If a field is missing.
    """
    dense = total(dense_costs(config).values())
    return Model(name, dense, tuple(_moe_layers(config)), tokens)


def dense_costs(config):
    """Counts all layers of a translator but its MoE layers, by their kind.

    Args:
        config: dict of the fields of `TranslatorConfig`.

    Returns:
        dict of `LayerCost`: "lstm", "context" (where LSTMs and softmax read
        the attended context), "attention", "vocabulary" (embeddings of both
        sides and the softmax) and "around_moe".
    """
    return {
        "lstm": total(_lstms(config)),
        "context": total(_readers_of_context(config)),
        "attention": total(_attention(config)),
        "vocabulary": _vocabulary(config),
        "around_moe": total(
            around_moe(config["depth"]) for _ in _moe_places(config)
        ),
    }


def _moe_places(config):
    return (*config["encoder_moe_after"], *config["decoder_moe_after"])


def _moe_layers(config):
    for _ in _moe_places(config):
        yield moe_from_config(config)


def _lstms(config):
    depth, units = config["depth"], config["lstm_units"]
    if config["bidirectional"]:
        yield from 2 * [lstm(depth, units // 2, depth // 2)]
    else:
        yield lstm(depth, units, depth)
    others = config["encoder_layers"] - 1 + config["decoder_layers"]
    yield from others * [lstm(depth, units, depth)]


def _readers_of_context(config):
    depth, gates = config["depth"], 4 * config["lstm_units"]
    lstms = 1 if config["context_to"] == "first" else config["decoder_layers"]
    yield from lstms * [LayerCost(depth * gates, depth * gates, depth)]
    if config["readout"]:
        yield linear(depth, depth)


def _attention(config):
    yield LayerCost()
    if config["attention"] != "dot":
        width = config["attention_units"]
        yield from 2 * [linear(config["depth"], width)]  # keys and queries
        yield LayerCost(parameters=width)  # a weight of each unit


def _vocabulary(config):
    """Counts embeddings and softmax, which has a bias."""
    size, depth = config["vocab_size"], config["depth"]
    tables = 1 if config["share_embeddings"] else 2
    tables += 0 if config["share_softmax"] else 1
    parameters = tables * size * depth + size
    # Kept: both embeddings with their dropout masks; logits, labels and the
    # gradient of the logits.
    ops, kept = depth * size, 4 * depth + 3 * size
    return LayerCost(parameters, ops, kept, parameters, softmax_ops=ops)
