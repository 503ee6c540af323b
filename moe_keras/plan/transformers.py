"""The sizes of published transformers with mixtures of experts.

Biases and norms are counted, relative positions are not. Batches are of 16
texts of 4,096 tokens, which a few devices can hold: give `--tokens` for others.

D: depth    H: hidden size    E: experts    K: experts per token
V: vocabulary
"""

import dataclasses

from moe_keras.plan.model import LayerCost, Model, MoE, total

_TOKENS = 16 * 4096


def attention(depth, heads, kv_heads, head_dim, qkv_bias=False, extra=0):
    """Counts self-attention, and the two norms of its layer.

    Kept are the inputs of both norms and what they make of them, queries,
    keys, values, and what attention makes of those; not its scores.

    Args:
        depth: int. D.
        heads: int. Heads of the queries.
        kv_heads: int. Heads of keys and of values.
        head_dim: int. Width of a head.
        qkv_bias: bool. Whether queries, keys and values have biases.
        extra: int. Parameters beside: norms of queries and keys, a bias of the
            output, sinks.

    Returns:
        A `LayerCost`.

    Example:

    >>> attention(4096, 32, 8, 128).ops  # 4096 * 128 * (32 + 8 + 8 + 32)
    41943040
    """
    inner = (heads + 2 * kv_heads) * head_dim
    kernels = depth * inner + heads * head_dim * depth
    biases = inner if qkv_bias else 0
    kept = 4 * depth + inner + heads * head_dim
    return LayerCost(kernels + biases + extra + 2 * depth, kernels, kept)


def latent_attention(depth, heads, q_rank, kv_rank, nope, rope, value):
    """Counts DeepSeek's multi-head latent attention (arXiv:2405.04434).

    Args:
        depth: int. D.
        heads: int.
        q_rank, kv_rank: int. Widths of the compressed queries, and of the
            compressed keys and values.
        nope, rope: int. Widths of a key without and with positions.
        value: int. Width of a value.

    Returns:
        A `LayerCost`, with all norms of the layer.

    Example:

    >>> latent_attention(7168, 128, 1536, 512, 128, 64, 128).ops
    187105280
    """
    kernels = (
        depth * q_rank
        + q_rank * heads * (nope + rope)
        + depth * (kv_rank + rope)
        + kv_rank * heads * (nope + value)
        + heads * value * depth
    )
    norms = q_rank + kv_rank + 2 * depth
    kept = 4 * depth + q_rank + kv_rank + heads * (2 * nope + rope + 2 * value)
    return LayerCost(kernels + norms, kernels, kept)


def feed_forward(depth, hidden, gated=True):
    """Counts a dense feed-forward layer without biases.

    >>> feed_forward(4, 8).parameters, feed_forward(4, 8, gated=False).ops
    (96, 64)
    """
    sides = 2 if gated else 1
    kernels = (sides + 1) * depth * hidden
    return LayerCost(kernels, kernels, sides * hidden)


def transformer(name, layers, vocabulary, moe, tables=2, devices=1):
    """Counts a decoder, or an encoder with its decoder.

    Args:
        name: str.
        layers: List of the `LayerCost`s of all layers but the MoE layers.
        vocabulary: int. V.
        moe: List of `MoE`.
        tables: int. 1 if embedding and softmax share a table.
        devices: int.

    Returns:
        A `Model`.
    """
    depth = moe[0].depth
    ops = vocabulary * depth
    ends = LayerCost(
        parameters=tables * ops + depth,  # and the last norm
        ops=ops,
        kept=2 * depth + 3 * vocabulary,
        tables=tables * ops,
        softmax_ops=ops,
    )
    dense = total([*layers, ends])
    return Model(name, dense, tuple(moe), _TOKENS, devices)


def _decoder(name, layers, each, moe, vocabulary):
    """A decoder whose layers are all alike."""
    return transformer(name, layers * [each], vocabulary, layers * [moe])


def _swiglu(depth, hidden, experts, k, **others):
    """Experts of three matrices among which a softmax chooses."""
    return MoE(depth, hidden, experts, k, "top_k", gated=True, **others)


def _gpt_oss(name, layers, experts):
    depth, heads, kv_heads, head_dim = 2880, 64, 8, 64
    each = attention(
        depth, heads, kv_heads, head_dim, qkv_bias=True, extra=depth + heads
    )
    moe = _swiglu(depth, 2880, experts, 4, bias=True, gate_bias=True)
    return _decoder(name, layers, each, moe, vocabulary=201_088)


def _deepseek_moe():
    depth, layers = 2048, 28
    moe = _swiglu(depth, 1408, 64, 6, shared_hidden_dim=2 * 1408)
    dense = feed_forward(depth, 10_944)
    all_layers = [*layers * [attention(depth, 16, 16, 128)], dense]
    return transformer(
        "deepseek_moe_16b", all_layers, 102_400, (layers - 1) * [moe]
    )


def _deepseek_v3():
    depth, layers, dense_layers = 7168, 61, 3
    moe = _swiglu(depth, 2048, 256, 8, shared_hidden_dim=2048)
    moe = dataclasses.replace(moe, gate="bias_balanced")
    all_layers = [
        *layers * [latent_attention(depth, 128, 1536, 512, 128, 64, 128)],
        *dense_layers * [feed_forward(depth, 18_432)],
    ]
    return transformer(
        "deepseek_v3", all_layers, 129_280, (layers - dense_layers) * [moe]
    )


def _glam(name, depth, heads, layers, vocabulary):
    """Every second layer has experts of two matrices, the others a GLU."""
    hidden, half = 4 * depth, layers // 2
    all_layers = [
        *layers * [attention(depth, heads, heads, 128)],
        *half * [feed_forward(depth, hidden)],
    ]
    moe = MoE(depth, hidden, 64, 2, "top_k")
    return transformer(name, all_layers, vocabulary, half * [moe], tables=1)


def _switch(name, depth, hidden, layers, heads, experts=128, **others):
    """An encoder and a decoder like T5's (arXiv:2101.03961).

    Args:
        name: str.
        depth, hidden, heads, experts: int. Heads are 64 wide.
        layers: int. Of the encoder, and as many of the decoder.
        **others: `gated`, whether feed-forward layers and experts are; `every`,
            2 where every second layer has experts; `tables`.
    """
    gated, every = others.get("gated", False), others.get("every", 2)
    # A third norm goes with the attention of the decoder to the encoder.
    one = attention(depth, heads, heads, 64)
    cross = one._replace(parameters=one.parameters - depth)
    moe_layers = 2 * layers // every
    all_layers = [
        *2 * layers * [one],
        *layers * [cross],
        *(2 * layers - moe_layers) * [feed_forward(depth, hidden, gated)],
    ]
    moe = MoE(depth, hidden, experts, 1, "switch", gated=gated)
    return transformer(
        name, all_layers, 32_128, moe_layers * [moe], others.get("tables", 1)
    )


TRANSFORMERS = (
    _decoder(
        "mixtral_8x7b",  # arXiv:2401.04088
        32,
        attention(4096, 32, 8, 128),
        _swiglu(4096, 14_336, 8, 2),
        vocabulary=32_000,
    ),
    _decoder(
        "mixtral_8x22b",
        56,
        attention(6144, 48, 8, 128),
        _swiglu(6144, 16_384, 8, 2),
        vocabulary=32_768,
    ),
    _decoder(
        "qwen1.5_moe_a2.7b",
        24,
        attention(2048, 16, 16, 128, qkv_bias=True),
        _swiglu(2048, 1408, 60, 4, shared_hidden_dim=5632, shared_gate=True),
        vocabulary=151_936,
    ),
    _decoder(
        "qwen3_30b_a3b",  # arXiv:2505.09388
        48,
        attention(2048, 32, 4, 128, extra=2 * 128),
        _swiglu(2048, 768, 128, 8),
        vocabulary=151_936,
    ),
    _decoder(
        "qwen3_235b_a22b",
        94,
        attention(4096, 64, 4, 128, extra=2 * 128),
        _swiglu(4096, 1536, 128, 8),
        vocabulary=151_936,
    ),
    _decoder(
        "olmoe_1b_7b",  # arXiv:2409.02060
        16,
        attention(2048, 16, 16, 128, extra=2 * 2048),
        _swiglu(2048, 1024, 64, 8),
        vocabulary=50_304,
    ),
    _deepseek_moe(),  # arXiv:2401.06066
    _deepseek_v3(),  # arXiv:2412.19437
    _gpt_oss("gpt_oss_20b", 24, 32),  # arXiv:2508.10925
    _gpt_oss("gpt_oss_120b", 36, 128),
    # arXiv:2112.06905; vocabularies of the small ones: what fits the totals.
    _glam("glam_64b_64e", 8192, 128, 64, 256_000),
    _glam("glam_8b_64e", 4096, 32, 32, 32_000),
    _glam("glam_1.7b_64e", 2048, 16, 24, 32_000),
    _switch("switch_base", 768, 3072, 12, 12),
    _switch("switch_large", 1024, 4096, 24, 16),
    _switch("switch_xxl", 4096, 10_240, 24, 64, gated=True, tables=2),
    _switch("switch_c", 2080, 6144, 15, 30, experts=2048, every=1),
)
