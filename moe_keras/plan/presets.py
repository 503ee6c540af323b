"""The sizes of published models; those of arXiv:1701.06538 are here.

`transformers.py` has those that came after.

Sizes, batches and clusters are the paper's (sections 5.1 to 5.4, appendices
C, D and E). Where it is silent we chose: the vocabulary of the 100 billion
words (the totals of table 8 leave 75 to 109 thousand), 8192 candidates of the
sampled softmax, and 32 groups in the gates of the translators.
"""

from moe_keras.plan.model import (
    Model,
    MoE,
    around_moe,
    linear,
    lstm,
    softmax,
    table,
    total,
)
from moe_keras.plan.transformers import TRANSFORMERS

_WORDS = 793_471  # vocabulary of the billion words
_NEWS_WORDS = 100_000  # of the hundred billion
_CANDIDATES = 8192
_BILLION_RUN = {"tokens": 300_000, "devices": 16}
_NEWS_RUN = {"tokens": 2_500_000, "devices": 32}


def language_model(
    name,
    experts,
    groups=1,
    depth=512,
    units=512,
    hidden=1024,
    vocabulary=_WORDS,
    tokens=300_000,
    devices=16,
):
    """Counts a language model: embedding, LSTM, MoE, LSTM, softmax.

    Args:
        name: str.
        experts: int. Number of experts, four of them for a token.
        groups: int. Groups of a hierarchical gate; 1 makes a flat one.
        depth: int. Width of all layers.
        units: int. Cells of both LSTMs.
        hidden: int. Hidden units of an expert.
        vocabulary: int.
        tokens: int. Words of a batch.
        devices: int.

    Returns:
        A `Model` (appendices C and D). Like the paper, without biases.
    """
    dense = total(
        [
            table(depth, vocabulary),
            lstm(depth, units, depth, bias=False),
            around_moe(depth),
            lstm(depth, units, depth, bias=False),
            softmax(depth, vocabulary, _CANDIDATES),
        ]
    )
    gate = "hierarchical" if groups > 1 else "noisy_top_k"
    moe = MoE(depth, hidden, experts, 4, gate, groups, recompute=True)
    return Model(name, dense, (moe,), tokens, devices)


def _baseline(name, layers, moe=(), vocabulary=_WORDS, **run):
    """Counts a dense model of the language models' ops (appendix C)."""
    ends = table(512, vocabulary), softmax(512, vocabulary, _CANDIDATES)
    dense = total([*ends, *layers])
    return Model(name, dense, moe, **{**_BILLION_RUN, **run})


def _dense_expert(name, hidden, more_layers=0):
    """Counts MoE-1-Wide and MoE-1-Deep: one expert, and no gate to ask.

    More hidden layers of the expert are counted with the dense ones.
    """
    deeper = more_layers * [linear(hidden, hidden)]
    layers = [*2 * [lstm(512, 512, 512, bias=False)], around_moe(512), *deeper]
    expert = linear(512, hidden), linear(hidden, 512)
    return _baseline(name, [*layers, *expert])


def translator(
    name, experts, groups=1, k=4, hidden=2048, tokens=64 * 16_000, devices=64
):
    """Counts a translator: three LSTMs read, two write, an MoE on each side.

    Args:
        name: str.
        experts: int. Number of experts of each side.
        groups: int. Groups of a hierarchical gate; 1 makes a flat one.
        k: int. Experts of a token.
        hidden: int. Hidden units of an expert.
        tokens: int. Words of a batch: 16,000 for each of 64 devices.
        devices: int.

    Returns:
        A `Model` (appendix E). The vocabulary, 32,000 wordpieces, is shared
        by source, target and softmax.
    """
    depth, units, vocabulary = 512, 2048, 32_000
    dense = total(
        [
            table(depth, vocabulary),
            *5 * [lstm(depth, units, depth, bias=False)],
            *2 * [around_moe(depth)],
            linear(depth, 4 * units),  # the context, into one LSTM
            linear(depth, depth),  # keys of the attention
            linear(depth, depth),  # and queries
            softmax(depth, vocabulary, own_table=False),
        ]
    )
    gate = "hierarchical" if groups > 1 else "noisy_top_k"
    moe = MoE(depth, hidden, experts, k, gate, groups, recompute=True)
    return Model(name, dense, (moe, moe), tokens, devices)


def _large(name, experts, groups, devices=32):
    return language_model(
        name,
        experts,
        groups,
        vocabulary=_NEWS_WORDS,
        tokens=_NEWS_RUN["tokens"],
        devices=devices,
    )


PRESETS = {
    model.name: model
    for model in (
        *TRANSFORMERS,
        _baseline("lstm_2048_512", [lstm(512, 2048, 512, bias=False)]),
        _baseline("4xlstm_512", 4 * [lstm(512, 512, 512, bias=False)]),
        _dense_expert("moe_1_wide", 4096),
        _dense_expert("moe_1_deep", 1024, more_layers=3),
        language_model("moe_4", 4),
        language_model("moe_32", 32),
        language_model("moe_256", 256),
        language_model("moe_256_h", 256, 16),
        language_model("moe_1024_h", 1024, 16),
        language_model("moe_4096_h", 4096, 16),
        language_model(
            "moe_34m", 1024, 32, 1024, 1024, hidden=2048, devices=32
        ),
        language_model("moe_143m", 256, 32, 1024, 4096, 8192, devices=32),
        _baseline(
            "news_4xlstm_512",
            4 * [lstm(512, 512, 512, bias=False)],
            vocabulary=_NEWS_WORDS,
            **_NEWS_RUN,
        ),
        _large("news_moe_32", 32, 1),
        _large("news_moe_256_h", 256, 32),
        _large("news_moe_1024_h", 1024, 32),
        _large("news_moe_4096_h", 4096, 64),
        _large("moe_16384_h", 16_384, 128),
        _large("moe_65536_h", 65_536, 256, devices=64),
        _large("moe_131072_h", 131_072, 256, devices=128),
        translator("translation_moe_32", 32),
        translator("translation_moe_512", 512, groups=32),
        translator("translation_moe_2048", 2048, groups=32),
        translator("translation_multilingual", 512, k=2, hidden=8192),
    )
}
