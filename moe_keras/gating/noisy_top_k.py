"""Noisy top-k gating (arXiv:1701.06538, section 2.1 and appendix A).

N: tokens    D: depth    E: experts    K: experts per token
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from moe_keras.checks import FixedArguments, check_k, check_not_negative
from moe_keras.gating.routing import Routing, checked_mask, sum_by_expert

# A floor also where `noise_epsilon` is 0: it changes no choice that float32
# can tell, and P is divided by the deviation, its gradient by the square.
_LEAST_STDDEV = 1e-6


@keras.saving.register_keras_serializable(package="moe_keras")
class NoisyTopKGate(FixedArguments, keras.layers.Layer):
    """Chooses `k` experts per token, with noise of learnt size in training.

    With `clean = x W_gate` and `stddev = softplus(x W_noise)`:

    1. `noisy = clean + N(0, 1) * stddev` while training, else `clean` (eq. 4).
    2. The `k` largest components of `noisy` are the chosen experts, and a
       softmax over these `k` alone gives the gates (equations 3 and 5).
    3. `importance` is the sum of the gates of each expert (equation 6).
    4. `load` estimates smoothly how many tokens each expert gets. For token x
       and expert i it adds the probability that i would be chosen if only
       its own noise were drawn again (equation 9), which is that of rising
       above the k-th largest of the *other* components:

       `P(x, i) = Phi((clean_i - kth_excluding(noisy, k, i)) / stddev_i)`

           noisy, sorted:   5.1   4.2 | 3.9   2.0   1.1        (k = 2)
                            in    in    out   out   out
           threshold:       3.9   3.9   4.2   4.2   4.2

       A chosen expert has to stay above the (k+1)-th value, any other has to
       rise above the k-th. With k = E all are always chosen and P is 1.

    Both kernels start at zero: at first the noise alone chooses, and every
    expert gets tokens (appendix A). Before any training, though, *inference*
    has nothing to choose by and sends all tokens to the first k experts.

    Out of training there is no noise, the same input always gives the same
    routing, and `load` counts tokens.

    `figures` tell how much the noise decides while training: `noise` is the
    sum over tokens of the mean standard deviation, `gap` that of the distance
    between the k-th and the (k+1)-th clean logit, which noise has to bridge
    to change the choice. Their ratio falls as the gate makes up its mind.

    With k = 1 the softmax over the one chosen component is 1 whatever the
    logits are, and the gate would learn nothing from the task. The gate is
    then the chosen expert's probability in the softmax over *all* noisy
    logits (the choice of Switch Transformer, arXiv:2101.03961), which has a
    gradient and lets the layer turn a doubtful expert down.

    All of it is computed in float32 (float64 under a float64 policy) whatever
    the dtype policy: bfloat16 logits tie, and ties choose wrong experts.

    Args:
        num_experts: int. Number of experts E to choose from.
        k: int. Experts per token, from 1 to E.
        noise_epsilon: float. Floor of the noise's standard deviation. The
            paper has none, but where learnt noise fades every P becomes 0 or
            1 and the load loses its gradient. With 0 it is no more than what
            keeps that gradient finite, 1e-6.
        seed: int. Seed of the noise.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Noise and the smooth load are for training only.

    Returns:
        A `Routing`; its gates are in each row positive, sorted, and sum to 1
        (for k = 1 they are at most 1).

    Raises:
        ValueError: If `k` is not between 1 and `num_experts`, or
            `noise_epsilon` is below zero. When called, if `inputs` or `mask`
            has another shape.

    Example:

    >>> gate = NoisyTopKGate(num_experts=8, k=2, seed=0)
    >>> routing = gate(keras.ops.ones((5, 3)), training=True)
    >>> tuple(routing.expert_index.shape), tuple(routing.load.shape)
    ((5, 2), (8,))
    """

    figure_names = ("noise", "gap")
    balance_knobs = ("importance_loss_weight", "load_loss_weight")
    noise_knob = "noise_epsilon"

    def __init__(
        self, num_experts, k=4, noise_epsilon=1e-2, seed=None, **kwargs
    ):
        # Layer.__call__ would otherwise cast the tokens to the policy's dtype
        # and the kernels with them.
        super().__init__(**kwargs, autocast=False)
        check_k("k", k, num_experts)
        check_not_negative(noise_epsilon=noise_epsilon)
        self.num_experts = num_experts
        self.k = k
        self.noise_epsilon = noise_epsilon
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    @property
    def router_dtype(self):
        """float32 under every policy but float64."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def build(self, input_shape):
        shape_DE = (input_shape[-1], self.num_experts)
        self.gate_kernel = self.add_weight(
            name="gate_kernel",
            shape=shape_DE,
            initializer="zeros",
            dtype=self.router_dtype,
            autocast=False,
        )
        self.noise_kernel = self.add_weight(
            name="noise_kernel",
            shape=shape_DE,
            initializer="zeros",
            dtype=self.router_dtype,
            autocast=False,
        )

    def call(self, inputs, mask=None, training=False):
        mask = checked_mask(mask, inputs, self.gate_kernel.shape[0])
        tokens_ND = tf.cast(inputs, self.router_dtype)
        if mask is not None:
            # Even a NaN in the padding must not reach a gradient.
            tokens_ND = tf.where(mask[:, None], tokens_ND, 0.0)
        clean_NE, spread_NE = self._logits(tokens_ND, training)
        expert_NK, gate_NK, chance_NE, stddev_NE = noisy_top_k(
            clean_NE, spread_NE, self.k, self.noise_epsilon, self.seed_generator
        )
        if mask is not None:
            expert_NK = tf.where(mask[:, None], expert_NK, -1)
            gate_NK = tf.where(mask[:, None], gate_NK, 0.0)
        if training:
            if mask is not None:
                chance_NE = tf.where(mask[:, None], chance_NE, 0.0)
            load_E = tf.reduce_sum(chance_NE, axis=0)
            figures = self._noise_against_gap(clean_NE, stddev_NE, mask)
        else:
            load_E = sum_by_expert(
                tf.ones_like(gate_NK), expert_NK, self.num_experts
            )
            figures = dict.fromkeys(
                self.figure_names, tf.zeros((), self.router_dtype)
            )
        return Routing(
            expert_index=expert_NK,
            gate=gate_NK,
            importance=sum_by_expert(gate_NK, expert_NK, self.num_experts),
            load=load_E,
            loss=tf.zeros((), self.router_dtype),
            figures=figures,
        )

    def _logits(self, tokens_ND, training):
        if not training:
            return tf.matmul(tokens_ND, self.gate_kernel), None
        # One product for both kernels: the tokens are read once.
        kernels = tf.concat([self.gate_kernel, self.noise_kernel], axis=1)
        return tf.split(tf.matmul(tokens_ND, kernels), 2, axis=1)

    def _noise_against_gap(self, clean_NE, stddev_NE, mask):
        noise_N = tf.reduce_mean(stddev_NE, axis=1)
        if self.k < self.num_experts:
            top = tf.math.top_k(clean_NE, self.k + 1).values
            gap_N = top[:, -2] - top[:, -1]
        else:
            gap_N = tf.zeros_like(noise_N)  # noise has nothing to bridge
        if mask is not None:
            noise_N = tf.where(mask, noise_N, 0.0)
            gap_N = tf.where(mask, gap_N, 0.0)
        return {
            "noise": tf.stop_gradient(tf.reduce_sum(noise_N)),
            "gap": tf.stop_gradient(tf.reduce_sum(gap_N)),
        }

    def compute_mask(self, inputs, previous_mask):
        return None

    def get_config(self):
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "k": self.k,
            "noise_epsilon": self.noise_epsilon,
            "seed": self.seed,
        }


class Choice(NamedTuple):
    """What `noisy_top_k` chose for each row.

    Attributes:
        index: int32 `(N, K)`. The chosen components, the best first.
        gate: float `(N, K)`. Their gates.
        chance: float `(N, E)`. Probability of each component to be chosen
            under fresh noise; None where there is none.
        stddev: float `(N, E)`. Size of the noise; None where there is none.
    """

    index: Any
    gate: Any
    chance: Any
    stddev: Any


def noisy_top_k(clean, spread, k, noise_epsilon, seed):
    """Chooses the `k` largest of each row, after noise of learnt size.

    Args:
        clean: Tensor `(N, E)`, logits without noise.
        spread: Tensor `(N, E)`, the noise's standard deviation before the
            softplus; None for no noise.
        k: int. Components to choose, from 1 to E.
        noise_epsilon: float. Floor of the standard deviation.
        seed: `keras.random.SeedGenerator`.

    Returns:
        A `Choice`. Its gates are a softmax over the chosen components; with
        k = 1 the probability of the chosen one among all.

    Example:

    >>> choice = noisy_top_k(tf.constant([[0.0, 2.0, 2.0]]), None, 2, 0.0, None)
    >>> choice.index.numpy().tolist(), choice.gate.numpy().tolist()
    ([[1, 2]], [[0.5, 0.5]])
    """
    noisy, stddev = clean, None
    if spread is not None:
        stddev = tf.maximum(
            tf.nn.softplus(spread), max(noise_epsilon, _LEAST_STDDEV)
        )
        noise = keras.random.normal(
            tf.shape(clean), dtype=clean.dtype.name, seed=seed
        )
        noisy = clean + noise * stddev
    # One more than chosen: the threshold of those that are.
    top, index = tf.math.top_k(noisy, min(k + 1, clean.shape[-1]))
    if k > 1:
        gate = tf.nn.softmax(top[:, :k])
    else:
        gate = tf.exp(
            top[:, :1] - tf.reduce_logsumexp(noisy, -1, keepdims=True)
        )
    chance = None
    if spread is not None:
        chance = chosen_probability(clean, noisy, stddev, top, k)
    return Choice(index[:, :k], gate, chance, stddev)


def chosen_probability(clean, noisy, stddev, top, k):
    """Probability of being chosen under fresh noise (equation 9).

    Args:
        clean: Tensor `(N, E)`, logits without noise.
        noisy: Tensor `(N, E)`, logits with noise.
        stddev: Tensor `(N, E)`, standard deviation of the noise.
        top: Tensor `(N, min(k + 1, E))`, the largest of `noisy`, sorted. The
            thresholds are taken from it, with their gradient.
        k: int. Experts per token.

    Returns:
        Tensor `(N, E)`.

    Example:

    >>> logits = tf.constant([[2.0, 0.0, -2.0]])
    >>> top = tf.math.top_k(logits, 2).values
    >>> p = chosen_probability(logits, logits, tf.ones((1, 3)), top, k=1)
    >>> [f"{value:.4f}" for value in p[0]]  # Phi(2), Phi(-2), Phi(-4)
    ['0.9772', '0.0228', '0.0000']
    """
    if top.shape[-1] == k:
        return tf.ones_like(clean)  # k = E: no threshold to fall under
    kth_N1, next_N1 = top[:, k - 1 : k], top[:, k : k + 1]
    # By value: where components tie, both thresholds are the same number.
    threshold_NE = tf.where(noisy > next_N1, next_N1, kth_N1)
    z_NE = (clean - threshold_NE) / stddev
    # erfc and not 1 + erf, which is 0 in float32 from z = -6 on.
    return 0.5 * tf.math.erfc(z_NE * -(0.5**0.5))
