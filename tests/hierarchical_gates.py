"""The hierarchy of gates of appendix B, written as loops over scalars."""

import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from moe_keras import HierarchicalGate

N, D, G, M = 7, 3, 4, 5
E = G * M


def built_gate(k=(2, 2), seed=0, dtype="float64", **kwargs):
    """A gate with random kernels, and tokens for it."""
    rng = np.random.default_rng(seed)
    gate = HierarchicalGate(G, M, k=k, seed=seed, dtype=dtype, **kwargs)
    gate.build((None, D))
    for kernel in gate.trainable_variables:
        kernel.assign(rng.normal(size=kernel.shape))
    return gate, tf.constant(rng.normal(size=(N, D)))


def frozen_noise(gate):
    """The noise of both levels in the next call, which still draws it."""
    generator = gate.primary.seed_generator
    state = generator.state.numpy()
    noise = [
        keras.random.normal(shape, dtype="float64", seed=generator).numpy()
        for shape in ((N, G), (N * gate.k[0], M))
    ]
    generator.state.assign(state)
    return noise


def softplus(x):
    return np.log1p(np.exp(x))


class Level:
    """One noisy top-k for one token: equations 3 to 5 and 9."""

    def __init__(self, x_D, gate_kernel, noise_kernel, noise, k):
        self.clean = x_D @ gate_kernel
        self.stddev = softplus(x_D @ noise_kernel)
        self.noisy = self.clean + noise * self.stddev
        self.chosen = np.argsort(-self.noisy)[:k]
        among = self.chosen if k > 1 else np.arange(len(self.noisy))
        powers = np.exp(self.noisy)
        self.gates = powers[self.chosen] / powers[among].sum()
        self.k = k

    def chance(self, i):
        others = np.sort(np.delete(self.noisy, i))
        if self.k > len(others):
            return 1.0
        z = (self.clean[i] - others[-self.k]) / self.stddev[i]
        return 0.5 * math.erfc(-z / math.sqrt(2))


def brute_force(gate, x_ND, noise):
    """Gates of all experts (N, E), importance (E,) and load (E,)."""
    w_DG, s_DG = (kernel.numpy() for kernel in gate.primary.weights[:2])
    w_GDM, s_GDM = gate.gate_kernel.numpy(), gate.noise_kernel.numpy()
    first, second = noise
    top = [
        Level(x, w_DG, s_DG, noise_G, gate.k[0])
        for x, noise_G in zip(x_ND, first, strict=True)
    ]
    gates_NGM, load_GM, slot = np.zeros((N, G, M)), np.zeros((G, M)), 0
    for g in range(G):
        load_primary = sum(level.chance(g) for level in top)
        sent, chances_M = 0, np.zeros(M)
        # Noise is drawn slot by slot: groups, then choices, then tokens.
        for j, n in itertools.product(range(gate.k[0]), range(N)):
            if top[n].chosen[j] != g:
                continue
            inner = Level(x_ND[n], w_GDM[g], s_GDM[g], second[slot], gate.k[1])
            slot, sent = slot + 1, sent + 1
            gates_NGM[n, g, inner.chosen] = top[n].gates[j] * inner.gates
            chances_M += [inner.chance(i) for i in range(M)]
        share_M = chances_M / sent if sent else np.full(M, gate.k[1] / M)
        load_GM[g] = load_primary * share_M
    gates_NE = gates_NGM.reshape(N, E)
    return gates_NE, gates_NE.sum(0), load_GM.reshape(E)
