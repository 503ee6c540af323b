"""Blocks of published models, each against a loop over its equations.

docs/transformers.md has the same blocks in their published sizes. Here they
are small, in float64, and all weights are random.
"""

import keras
import numpy as np
import pytest

from moe_keras import (
    BiasBalancedGate,
    FeedForwardExperts,
    GatedFeedForwardExperts,
    SparseMoE,
    SwitchGate,
    TopKGate,
)
from moe_keras.experts import ClampedGLU

D, H, E, N = 6, 5, 8, 11
F64 = {"dtype": "float64"}


def built(layer, **inputs):
    """The layer with random weights, and its outputs."""
    layer(**inputs)
    rng = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return np.asarray(layer(**inputs))


def tokens(seed=1):
    return np.random.default_rng(seed).normal(size=(N, D))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def tanh_gelu(x):
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(inner))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def swiglu(experts, e, x, activation=silu):
    """`(act(x W1) * x W3) W2` of expert e."""
    w1, w3 = np.split(experts.kernel_in.numpy()[e], 2, axis=-1)
    return (activation(x @ w1) * (x @ w3)) @ experts.kernel_out.numpy()[e]


def logits_of(layer, x):
    return x @ layer.gate.gate_kernel.numpy()


def mixtral(k=2):
    """Softmax of the chosen logits (arXiv:2401.04088)."""
    layer = SparseMoE(
        E,
        gate=TopKGate(E, k=k, **F64),
        expert=GatedFeedForwardExperts(E, H, **F64),
        **F64,
    )

    def equations(x):
        logits = logits_of(layer, x)
        best = np.argsort(-logits)[:k]
        weights = softmax(logits[best])
        return sum(
            w * swiglu(layer.experts, e, x)
            for w, e in zip(weights, best, strict=True)
        )

    return layer, equations


def qwen(normalize, shared):
    """Qwen1.5-MoE, Qwen3-MoE and Qwen3.5-MoE (arXiv:2505.09388)."""
    k = 3
    layer = SparseMoE(
        E,
        gate=TopKGate(
            E, k=k, softmax="after" if normalize else "before", **F64
        ),
        expert=GatedFeedForwardExperts(E, H, **F64),
        shared_expert=GatedFeedForwardExperts(1, 7, **F64) if shared else None,
        shared_gate="sigmoid" if shared else None,
        **F64,
    )

    def equations(x):
        probability = softmax(logits_of(layer, x))
        best = np.argsort(-probability)[:k]
        weights = probability[best]
        if normalize:
            weights /= weights.sum()
        y = sum(
            w * swiglu(layer.experts, e, x)
            for w, e in zip(weights, best, strict=True)
        )
        if shared:
            gate = sigmoid(x @ layer.shared.gate_kernel.numpy())
            y += gate * swiglu(layer.shared_expert, 0, x)
        return y

    return layer, equations


def gpt_oss():
    """A router with a bias, clamped experts with biases (arXiv:2508.10925)."""
    k, limit, alpha = 3, 2.0, 1.702
    layer = SparseMoE(
        E,
        gate=TopKGate(E, k=k, use_bias=True, **F64),
        expert=GatedFeedForwardExperts(
            E, H, glu=ClampedGLU(limit, alpha), use_bias=True, **F64
        ),
        **F64,
    )

    def expert(e, x):
        bank = layer.experts
        both = x @ bank.kernel_in.numpy()[e] + bank.bias_in.numpy()[e]
        gate, up = np.split(both, 2)
        gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
        hidden = (up + 1) * gate * sigmoid(alpha * gate)
        return hidden @ bank.kernel_out.numpy()[e] + bank.bias_out.numpy()[e]

    def equations(x):
        logits = logits_of(layer, x) + layer.gate.gate_bias.numpy()
        best = np.argsort(-logits)[:k]
        weights = softmax(logits[best])
        return sum(w * expert(e, x) for w, e in zip(weights, best, strict=True))

    return layer, equations


def olmoe():
    """Probabilities as gates, not divided by their sum (arXiv:2409.02060)."""
    return qwen(normalize=False, shared=False)


def glam():
    """The two best of a softmax, ungated GELU experts (arXiv:2112.06905)."""
    layer = SparseMoE(
        E,
        gate=TopKGate(E, k=2, **F64),
        expert=FeedForwardExperts(
            E, H, activation="gelu", use_bias=False, **F64
        ),
        **F64,
    )

    def expert(e, x):
        hidden = x @ layer.experts.kernel_in.numpy()[e]
        hidden = np.asarray(keras.activations.gelu(hidden))
        return hidden @ layer.experts.kernel_out.numpy()[e]

    def equations(x):
        probability = softmax(logits_of(layer, x))
        first, second = np.argsort(-probability)[:2]
        p, q = probability[first], probability[second]
        return (p * expert(first, x) + q * expert(second, x)) / (p + q)

    return layer, equations


def switch():
    """One expert, weighed by its probability (arXiv:2101.03961)."""
    layer = SparseMoE(
        E,
        gate=SwitchGate(E, z_loss_weight=0.0, **F64),
        expert=FeedForwardExperts(E, H, use_bias=False, **F64),
        **F64,
    )

    def equations(x):
        probability = softmax(logits_of(layer, x))
        e = np.argmax(probability)
        hidden = np.maximum(x @ layer.experts.kernel_in.numpy()[e], 0)
        return probability[e] * hidden @ layer.experts.kernel_out.numpy()[e]

    return layer, equations


def deepseek_v3():
    """Sigmoid scores, a bias that chooses, groups (arXiv:2412.19437)."""
    k, groups, taken, scale = 3, 4, 2, 2.5
    layer = SparseMoE(
        E,
        gate=BiasBalancedGate(
            E,
            k=k,
            num_groups=groups,
            groups_per_token=taken,
            gate_scale=scale,
            **F64,
        ),
        expert=GatedFeedForwardExperts(E, H, **F64),
        shared_expert=GatedFeedForwardExperts(1, H, **F64),
        **F64,
    )

    def equations(x):
        scores = sigmoid(logits_of(layer, x))
        biased = (scores + layer.gate.bias.numpy()).reshape(groups, -1)
        worth = np.sort(biased, axis=-1)[:, -2:].sum(axis=-1)
        closed = np.argsort(-worth)[taken:]
        biased[closed] = -np.inf
        best = np.argsort(-biased.ravel())[:k]
        weights = scale * scores[best] / scores[best].sum()
        return swiglu(layer.shared_expert, 0, x) + sum(
            w * swiglu(layer.experts, e, x)
            for w, e in zip(weights, best, strict=True)
        )

    return layer, equations


BLOCKS = {
    "mixtral": mixtral,
    "qwen1.5_moe": lambda: qwen(normalize=False, shared=True),
    "qwen3_moe": lambda: qwen(normalize=True, shared=False),
    "qwen3.5_moe": lambda: qwen(normalize=True, shared=True),
    "gpt_oss": gpt_oss,
    "olmoe": olmoe,
    "glam": glam,
    "switch": switch,
    "deepseek_v3": deepseek_v3,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block_equals_a_loop_over_the_published_equations(name):
    layer, equations = BLOCKS[name]()
    outputs = built(layer, inputs=tokens())
    expected = [equations(x) for x in tokens()]
    np.testing.assert_allclose(outputs, expected, rtol=1e-9, atol=1e-9)


def test_gemma_4_routes_what_its_experts_do_not_see():
    """The router normalises x itself; experts see x with a norm of theirs."""
    layer = SparseMoE(
        E,
        gate=TopKGate(E, k=2, **F64),
        expert=GatedFeedForwardExperts(E, H, activation=_gelu, **F64),
        **F64,
    )
    router_norm = keras.layers.RMSNormalization(epsilon=1e-6, **F64)
    router_norm.build((None, D))
    per_dim_scale = np.random.default_rng(2).normal(size=D)
    router_norm.scale.assign(per_dim_scale * D**-0.5)
    raw, normed = tokens(), tokens(seed=3)
    outputs = built(layer, inputs=normed, gate_inputs=router_norm(raw))
    # per_expert_scale is a factor of each expert's output.
    per_expert_scale = np.random.default_rng(4).normal(size=E)
    kernel_out = layer.experts.kernel_out
    plain = kernel_out.numpy()
    kernel_out.assign(plain * per_expert_scale[:, None, None])
    outputs = layer(normed, gate_inputs=router_norm(raw))
    kernel_out.assign(plain)
    for x, seen, y in zip(normed, raw, outputs, strict=True):
        seen = seen / np.sqrt(np.mean(seen**2) + 1e-6)
        probability = softmax(logits_of(layer, seen * D**-0.5 * per_dim_scale))
        best = np.argsort(-probability)[:2]
        weights = probability[best] / probability[best].sum()
        expected = sum(
            w * per_expert_scale[e] * swiglu(layer.experts, e, x, tanh_gelu)
            for w, e in zip(weights, best, strict=True)
        )
        np.testing.assert_allclose(y, expected, rtol=1e-8, atol=1e-8)


@keras.saving.register_keras_serializable(package="lineage_test")
def _gelu(x):
    return keras.activations.gelu(x, approximate=True)
