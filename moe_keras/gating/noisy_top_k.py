"""Noisy top-k gating (arXiv:1701.06538, section 2.1 and appendix A).

N: tokens    D: depth    E: experts    K: experts per token
"""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from moe_keras.checks import check_above_0, check_k, check_not_negative
from moe_keras.gating.router import Router, probability_of
from moe_keras.gating.sizes import GateCost

# The floor where `noise_epsilon` is 0: too small to change a choice in float32,
# large enough for P, which is divided by it, and its gradient to stay finite.
_LEAST_STDDEV = 1e-6
# Standard deviation of the noise where `x W_noise` is 0: softplus(0).
INITIAL_NOISE = math.log(2.0)
# Numbers that the backward pass needs: the noise, its size before the softplus,
# two steps from there to the chance of being chosen, and a softmax.
KEPT_PER_LOGIT = 5


@keras.saving.register_keras_serializable(package="moe_keras")
class NoisyTopKGate(Router):
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
    expert gets tokens (appendix A). *Inference* before any training has
    nothing to choose by, and sends all tokens to the first k experts.

    Outside of training there is no noise, the same input always gives the
    same routing, and `load` counts tokens.

    `metrics` tell how much the noise decides while training: `noise` is the
    sum over tokens of the mean standard deviation, `gap` the sum of the
    distance between the k-th and the (k+1)-th clean logit, which the noise
    has to bridge to change the choice. Their ratio falls as the gate learns.

    With k = 1 the softmax over the one chosen component is always 1, and the
    task would teach the gate nothing. The gate is then the probability of the
    chosen expert in the softmax over *all* noisy logits (as in Switch
    Transformer, arXiv:2101.03961), which has a gradient.

    *Randomness.* Equal seeds draw equal noise on one device; under XLA
    (`jit_compile=True`) the same seed draws other numbers than without. As
    with `keras.layers.Dropout`, files of `model.save`, `save_weights` and
    `tf.train.Checkpoint` do not hold the place in the sequence of random
    numbers: a loaded model draws the sequence of its seed from the start.
    (`trainers` saves it in its checkpoints.)

    Args:
        num_experts: int. Number of experts E to choose from.
        k: int. Experts per token, from 1 to E.
        noise_epsilon: float. Floor of the standard deviation of the noise.
            The paper has none, but where the learnt noise fades every P
            becomes 0 or 1, and the load loses its gradient. 0 means 1e-6, the
            least that keeps the gradient finite. Where the noise of an expert
            is at its floor, its column of `noise_kernel` has no gradient from
            that token, and the floor is what is left of the noise.
        initial_noise: float. Standard deviation of the noise before any
            training, while `x W_noise` is 0: `softplus(x W_noise + b)`, with
            the constant b that gives it. The paper's is `log(2) = 0.69`, where
            b is 0. With a `kernel_initializer` other than zeros, less noise
            lets experts tell tokens apart from the first step on.
        seed: int. Seed of the noise.
        kernel_initializer: Initializer of `gate_kernel`. `noise_kernel` is
            always zeros at first.
        **kwargs: `kernel_regularizer` and `use_bias` of the router, and
            arguments of every Keras layer.

    Call arguments:
        inputs: Tensor of shape `(N, D)`.
        mask: Optional boolean tensor of shape `(N,)`. Where it is False the
            token gets no expert and counts nowhere.
        training: bool. Whether to add noise and to estimate the load.

    Returns:
        A `Routing`. The gates of a token are positive, sorted, and sum to 1
        (with k = 1 they are at most 1).

    Raises:
        ValueError: If `k` is not between 1 and `num_experts`, or
            `noise_epsilon` is below zero, or `initial_noise` is not above it.
            When called, if `inputs` or `mask`
            has another shape.

    Example:

    >>> gate = NoisyTopKGate(num_experts=8, k=2, seed=0)
    >>> routing = gate(keras.ops.ones((5, 3)), training=True)
    >>> tuple(routing.expert_index.shape), tuple(routing.load.shape)
    ((5, 2), (8,))
    """

    config_name = "noisy_top_k"
    has_loss = False
    metric_names = ("noise", "gap")
    balance_knobs = ("importance_loss_weight", "load_loss_weight")
    noise_knob = "noise_epsilon"

    def __init__(
        self,
        num_experts,
        k=4,
        noise_epsilon=1e-2,
        seed=None,
        kernel_initializer="zeros",
        initial_noise=INITIAL_NOISE,
        **kwargs,
    ):
        super().__init__(num_experts, kernel_initializer, **kwargs)
        check_k("k", k, num_experts)
        check_not_negative(noise_epsilon=noise_epsilon)
        check_above_0("initial_noise", initial_noise)
        self.initial_noise = initial_noise
        self.k = k
        self.noise_epsilon = noise_epsilon
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        super().build(input_shape)
        self.noise_kernel = self.add_kernel(
            "noise_kernel", (input_shape[-1], self.num_experts)
        )

    def call(self, inputs, mask=None, training=False):
        mask = self.checked_mask(mask, inputs)
        clean_NE, spread_NE = self._logits(self.tokens(inputs, mask), training)
        choice = noisy_top_k(
            clean_NE, spread_NE, self.k, self.noise_epsilon, self.seed_generator
        )
        routing = self.routing(choice.index, choice.gate, mask)
        if not training:
            zero = tf.zeros((), self.router_dtype)
            return routing._replace(
                metrics=dict.fromkeys(self.metric_names, zero)
            )
        chance_NE = choice.chance
        if mask is not None:
            chance_NE = tf.where(mask[:, None], chance_NE, 0.0)
        return routing._replace(
            load=tf.reduce_sum(chance_NE, axis=0),
            metrics=self._noise_and_gap(clean_NE, choice.stddev, mask),
        )

    def _logits(self, tokens_ND, training):
        if not training:
            clean_NE = tf.matmul(tokens_ND, self.gate_kernel)
            return self.biased(clean_NE), None
        # One product for both kernels reads the tokens once.
        kernels = tf.concat([self.gate_kernel, self.noise_kernel], axis=1)
        clean_NE, spread_NE = tf.split(tf.matmul(tokens_ND, kernels), 2, axis=1)
        return self.biased(clean_NE), with_offset(spread_NE, self.initial_noise)

    def _noise_and_gap(self, clean_NE, stddev_NE, mask):
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

    def get_config(self):
        return {
            **super().get_config(),
            "k": self.k,
            "noise_epsilon": self.noise_epsilon,
            "initial_noise": self.initial_noise,
            "seed": self.seed,
        }

    @classmethod
    def cost(cls, sizes):
        cost = super().cost(sizes)
        noise_kernel = (sizes.depth, sizes.num_experts)
        return GateCost(
            weights=cost.weights | {"noise_kernel": noise_kernel},
            ops=2 * cost.ops,
            kept=KEPT_PER_LOGIT * sizes.num_experts,
        )


def with_offset(spread, initial_noise):
    """Shifts the noise so that it begins with a standard deviation.

    Args:
        spread: Tensor, `x W_noise`, which is 0 before any training.
        initial_noise: float above 0. The softplus of what is returned for 0.

    Returns:
        Tensor of the same shape.

    Example:

    >>> spread = with_offset(tf.zeros((1,)), initial_noise=0.1)
    >>> f"{tf.nn.softplus(spread)[0]:.4f}"
    '0.1000'
    """
    if initial_noise == INITIAL_NOISE:
        return spread
    return spread + math.log(math.expm1(initial_noise))


class Choice(NamedTuple):
    """The components that `noisy_top_k` chooses in each row.

    Attributes:
        index: int32 `(N, K)`. The chosen components, the best first.
        gate: float `(N, K)`. Their gates.
        chance: float `(N, E)`. The probability of each component to be chosen
            under fresh noise; None without noise.
        stddev: float `(N, E)`. Standard deviation of the noise; None without.
    """

    index: Any
    gate: Any
    chance: Any
    stddev: Any


def noisy_top_k(clean, spread, k, noise_epsilon, seed):
    """Chooses the `k` largest components of each row, after adding noise.

    Args:
        clean: Tensor `(N, E)`, logits without noise.
        spread: Tensor `(N, E)`, the standard deviation of the noise before
            the softplus; None for no noise.
        k: int. Components to choose, from 1 to E.
        noise_epsilon: float. Floor of the standard deviation.
        seed: `keras.random.SeedGenerator`.

    Returns:
        A `Choice`. Its gates are a softmax over the chosen components, or with
        k = 1 the probability of the chosen one among all.

    Example:

    >>> choice = noisy_top_k(tf.constant([[0.0, 2.0, 2.0]]), None, 2, 0.0, None)
    >>> choice.index.numpy().tolist(), choice.gate.numpy().tolist()
    ([[1, 2]], [[0.5, 0.5]])
    """
    # Add the noise, choose the k largest, and give the softmax of these as
    # gates. Only with noise is there a chance of each component.
    noisy, stddev = clean, None
    if spread is not None:
        stddev = tf.maximum(
            tf.nn.softplus(spread), max(noise_epsilon, _LEAST_STDDEV)
        )
        noise = keras.random.normal(
            tf.shape(clean), dtype=clean.dtype.name, seed=seed
        )
        noisy = clean + noise * stddev
    # The (k+1)-th component is the threshold of the chosen ones.
    top, index = tf.math.top_k(noisy, min(k + 1, clean.shape[-1]))
    if k > 1:
        gate = tf.nn.softmax(top[:, :k])
    else:
        gate = probability_of(top[:, :1], noisy)
    chance = None
    if spread is not None:
        chance = chosen_probability(clean, noisy, stddev, top, k)
    return Choice(index[:, :k], gate, chance, stddev)


def chosen_probability(clean, noisy, stddev, top, k):
    """Computes the probability of being chosen under fresh noise (equation 9).

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
    # What a component must exceed to be chosen: the (k+1)-th value for those
    # that are chosen now, the k-th for all others.
    if top.shape[-1] == k:
        return tf.ones_like(clean)  # k = E: no threshold to fall under
    kth_N1, next_N1 = top[:, k - 1 : k], top[:, k : k + 1]
    # Compared by value: where components tie, both thresholds are equal.
    threshold_NE = tf.where(noisy > next_N1, next_N1, kth_N1)
    z_NE = (clean - threshold_NE) / stddev
    # erfc and not 1 + erf, which is 0 in float32 from z = -6 on.
    return 0.5 * tf.math.erfc(z_NE * -(0.5**0.5))
