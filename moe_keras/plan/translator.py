"""The translator of the trainers, counted from its configuration."""

from moe_keras.plan.model import (
    Model,
    MoE,
    Part,
    around_moe,
    linear,
    lstm,
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
        KeyError: if a field is missing.
    """
    return Model(name, _dense(config), tuple(_mixtures(config)), tokens)


def _moe_layers(config):
    return (*config["encoder_moe_after"], *config["decoder_moe_after"])


def _mixtures(config):
    for _ in _moe_layers(config):
        yield MoE(
            depth=config["depth"],
            hidden_dim=config["expert_hidden_dim"],
            num_experts=config["num_experts"],
            k=config["experts_per_token"],
            gate=config["gate"],
            groups=config["expert_groups"],
            groups_per_token=config["groups_per_token"],
            bias=config["expert_bias"],
        )


def _dense(config):
    depth, units = config["depth"], config["lstm_units"]
    plain = config["encoder_layers"] - 1 + config["decoder_layers"]
    if config["bidirectional"]:
        first = 2 * [lstm(depth, units // 2, depth // 2)]
    else:
        first = [lstm(depth, units, depth)]
    layers = [*first, *plain * [lstm(depth, units, depth)]]
    layers += [around_moe(depth) for _ in _moe_layers(config)]
    readers = 1 if config["context_to"] == "first" else config["decoder_layers"]
    layers += readers * [Part(depth * 4 * units, depth * 4 * units, depth)]
    if config["readout"]:
        layers.append(linear(depth, depth))
    return total([*layers, *_attention(config), _vocabulary(config)])


def _attention(config):
    if config["attention"] == "dot":
        return []
    width = config["attention_units"]
    key = query = linear(config["depth"], width)
    return [key, query, Part(parameters=width)]  # and the scale of a unit


def _vocabulary(config):
    """Embeddings of both sides and the softmax, which has a bias."""
    size, depth = config["vocab_size"], config["depth"]
    tables = 1 if config["share_embeddings"] else 2
    tables += 0 if config["share_softmax"] else 1
    numbers = tables * size * depth + size
    # Kept: both embeddings with the masks of their dropout; logits, labels
    # and the gradient of the logits.
    ops, kept = depth * size, 4 * depth + 3 * size
    return Part(numbers, ops, kept, numbers, softmax_ops=ops)
