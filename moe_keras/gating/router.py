"""What gates with a linear router have in common.

N: tokens    D: depth    E: experts    K: experts per token
"""

import keras
import tensorflow as tf

from moe_keras.checks import FixedArguments, check_sizes
from moe_keras.gating.routing import Routing, checked_mask, sum_by_expert
from moe_keras.losses import balance_loss, z_loss
from moe_keras.placement.replicas import sum_over_replicas


class Router(FixedArguments, keras.layers.Layer):
    """Base of gates: from tokens to logits, and from choices to a `Routing`.

    A gate calls `logits`, decides, and returns `routing(...)` of what it
    decided. All of it is computed in float32 (float64 under a float64 policy)
    whatever the dtype policy: bfloat16 logits tie, and ties choose wrong
    experts.

    The kernel starts at random. The zeros of `NoisyTopKGate` are only for a
    gate whose noise then chooses: without noise they would tie, and all
    tokens go to the first experts.

    Args:
        num_experts: int. Number of experts E to choose from.
        kernel_initializer: Initializer of `gate_kernel (D, E)`.

    Raises:
        ValueError: If `num_experts` is not an int from 1 on.

    Example:

    >>> class FirstChoice(Router):
    ...     def call(self, inputs, mask=None, training=False):
    ...         mask = self.checked_mask(mask, inputs)
    ...         best = tf.math.top_k(self.logits(inputs, mask), 1)
    ...         return self.routing(best.indices, tf.ones_like(best[0]), mask)
    >>> routing = FirstChoice(num_experts=3)(keras.ops.ones((5, 4)))
    >>> tuple(routing.gate.shape), float(sum(routing.load))
    ((5, 1), 5.0)
    """

    def __init__(
        self, num_experts, kernel_initializer="glorot_uniform", **kwargs
    ):
        # Layer.__call__ would otherwise cast the tokens to the policy's dtype
        # and the kernel with them.
        super().__init__(**kwargs, autocast=False)
        check_sizes(num_experts=num_experts)
        self.num_experts = num_experts
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True

    @property
    def router_dtype(self):
        """float32 under every policy but float64."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def build(self, input_shape):
        self.gate_kernel = self.add_weight(
            name="gate_kernel",
            shape=(input_shape[-1], self.num_experts),
            initializer=self.kernel_initializer,
            dtype=self.router_dtype,
            autocast=False,
        )

    def add_state(self, name, shape=(), initializer="zeros"):
        """Adds a weight that `call` moves by itself, without a gradient.

        All replicas must assign it the same value.
        """
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype=self.router_dtype,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def checked_mask(self, mask, inputs):
        """See `routing.checked_mask`; what `call` of every gate begins with."""
        return checked_mask(mask, inputs, self.gate_kernel.shape[0])

    def logits(self, inputs, mask=None, jitter=0.0, seed=None):
        """`x W_gate`, with each x times a random number in 1 +- `jitter`.

        Args:
            inputs: Tensor `(N, D)`.
            mask: Optional boolean tensor `(N,)`. The logits of tokens that
                it leaves out are zeros.
            jitter: float; 0 out of training.
            seed: Seed generator of the jitter.

        Returns:
            Tensor `(N, E)` of the router's dtype.
        """
        tokens_ND = tf.cast(inputs, self.router_dtype)
        if mask is not None:
            # Even a NaN in the padding must not reach a gradient.
            tokens_ND = tf.where(mask[:, None], tokens_ND, 0.0)
        if jitter:
            tokens_ND *= keras.random.uniform(
                tf.shape(tokens_ND),
                1.0 - jitter,
                1.0 + jitter,
                dtype=self.router_dtype,
                seed=seed,
            )
        return tf.matmul(tokens_ND, self.gate_kernel)

    def routing(self, expert_index, gate, mask=None):
        """The `Routing` of these choices, without those of masked tokens.

        Args:
            expert_index: int32 tensor `(N, K)`, -1 for no expert.
            gate: Tensor `(N, K)`, 0 where there is no expert.
            mask: Optional boolean tensor `(N,)`.

        Returns:
            A `Routing` whose load counts tokens, without loss and figures.
        """
        if mask is not None:
            expert_index = tf.where(mask[:, None], expert_index, -1)
            gate = tf.where(mask[:, None], gate, 0.0)
        return Routing(
            expert_index=expert_index,
            gate=gate,
            importance=sum_by_expert(gate, expert_index, self.num_experts),
            load=sum_by_expert(
                tf.ones_like(gate), expert_index, self.num_experts
            ),
            loss=tf.zeros([], gate.dtype),
            figures={},
        )

    def compute_mask(self, inputs, previous_mask):
        return None

    def get_config(self):
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }


def count_tokens(tokens, mask=None):
    """Number of tokens that a mask lets through, in the dtype of `tokens`.

    Args:
        tokens: Tensor `(N, ...)`.
        mask: Optional boolean tensor `(N,)`.

    Returns:
        Scalar tensor.

    Example:

    >>> float(count_tokens(tf.ones((3, 2)), mask=[True, False, True]))
    2.0
    """
    if mask is None:
        return tf.cast(tf.shape(tokens)[0], tokens.dtype)
    return tf.math.count_nonzero(mask, dtype=tokens.dtype)


def probability_of(top, logits):
    """Probabilities, in the softmax over all experts, of some of them.

    Args:
        top: Tensor `(N, K)`, logits of the chosen experts.
        logits: Tensor `(N, E)`, those of all.

    Returns:
        Tensor `(N, K)`.

    Example:

    >>> logits = tf.math.log([[0.7, 0.1, 0.2]])
    >>> p = probability_of(tf.math.top_k(logits, 2).values, logits)
    >>> [f"{value:.2f}" for value in p[0]]
    ['0.70', '0.20']
    """
    return tf.exp(top - tf.reduce_logsumexp(logits, axis=-1, keepdims=True))


def router_loss(logits, load, mask, balance_loss_weight, z_loss_weight):
    """Weighted balance loss and z-loss of the batch that replicas share.

    Args:
        logits: Tensor `(N, E)`.
        load: Tensor `(E,)`, choices of each expert on this replica.
        mask: Boolean tensor `(N,)` or None.
        balance_loss_weight: float. Weight of `losses.balance_loss`.
        z_loss_weight: float. Weight of `losses.z_loss`.

    Returns:
        Scalar tensor, the same on every replica.

    Example:

    >>> # One token, sure of expert 0 of 2: f = [1, 0], P = [1, 0].
    >>> logits = tf.constant([[50.0, 0.0]])
    >>> float(router_loss(logits, [1.0, 0.0], None, 0.25, 0.0))  # 0.25 * 2
    0.5
    """
    num_tokens = sum_over_replicas(count_tokens(logits, mask))
    loss = tf.zeros([], logits.dtype)
    if balance_loss_weight:
        probability_NE = tf.nn.softmax(logits)
        if mask is not None:
            probability_NE = tf.where(mask[:, None], probability_NE, 0.0)
        loss += balance_loss_weight * balance_loss(
            sum_over_replicas(load),
            sum_over_replicas(tf.reduce_sum(probability_NE, axis=0)),
            num_tokens,
        )
    if z_loss_weight:
        share = z_loss(logits, mask, num_tokens)
        loss += z_loss_weight * sum_over_replicas(share)
    return loss
