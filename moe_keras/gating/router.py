"""The base of gates: from tokens to logits, and from choices to a `Routing`.

N: tokens    D: depth    E: experts    K: experts per token
"""

import inspect

import keras
import tensorflow as tf

from moe_keras.checks import FixedArguments, check_sizes
from moe_keras.gating.routing import Routing, checked_mask, sum_by_expert
from moe_keras.gating.sizes import GateCost
from moe_keras.losses import balance_loss, z_loss
from moe_keras.placement.replicas import sum_over_replicas


class Router(FixedArguments, keras.layers.Layer):
    """Base class of gates with a linear router, to derive your own from.

    A gate defines `call`: it computes `logits`, chooses experts and gates, and
    returns `routing(...)` of them. The file of a gate says everything that
    programs need to know of it, in class attributes and class methods that a
    gate overrides where it differs:

    - `config_name`: str, the name of the gate in configurations. None (the
      default) for a gate that only code can choose.
    - `uses_groups`: bool. Whether it divides its experts into groups.
    - `no_decay`: names of trainable weights that weight decay would spoil.
    - `not_options`: arguments of the constructor that no user sets as an
      option, because they follow from the sizes of the model.
    - `arguments_for(sizes)`: the arguments that follow from the sizes.
    - `cost(sizes)`: its weights, multiply-adds and activations.

    All mathematics is in float32 (float64 under a float64 policy), whatever
    the dtype policy: in bfloat16 logits tie, and ties choose wrong experts.

    A frozen gate (`trainable=False`) keeps its weights, also those that move
    without a gradient (`add_state`). Noise, jitter and losses stay as
    `training` says, as dropout does in a frozen Keras layer. As for all Keras
    layers, compile a model anew after freezing a part of it.

    Args:
        num_experts: int. Number of experts E.
        kernel_initializer: Initializer of `gate_kernel (D, E)`. Random by
            default: without noise, logits of zero tie, and all tokens go to
            the first experts.
        kernel_regularizer: Regularizer of `gate_kernel`, or None.
        use_bias: bool. Whether logits are `x W_gate + gate_bias`, with a
            `gate_bias (E,)` that starts at zero and is trained, as in
            GPT-OSS. It gives experts a weight; the bias of a
            `BiasBalancedGate` only chooses them.
        **kwargs: Arguments of every Keras layer, such as `name` and `dtype`.

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

    config_name = None
    uses_groups = False
    no_decay = ()
    not_options = ("num_experts", "k")

    def __init__(
        self,
        num_experts,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        use_bias=False,
        **kwargs,
    ):
        # Without autocast: Layer.__call__ would cast the tokens to the dtype
        # of the policy, and the kernel with them.
        super().__init__(**kwargs, autocast=False)
        check_sizes(num_experts=num_experts)
        self.num_experts = num_experts
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.use_bias = use_bias
        self.supports_masking = True

    @property
    def router_dtype(self):
        """float32 under every policy but float64."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def build(self, input_shape):
        self.gate_kernel = self.add_kernel(
            "gate_kernel",
            (input_shape[-1], self.num_experts),
            self.kernel_initializer,
            self.kernel_regularizer,
        )
        self.add_gate_bias((self.num_experts,))

    def add_gate_bias(self, shape):
        """Adds `gate_bias` where `use_bias` asks for it."""
        if self.use_bias:
            self.gate_bias = self.add_kernel("gate_bias", shape)

    def add_kernel(self, name, shape, initializer="zeros", regularizer=None):
        """Adds a trainable weight of the router's dtype."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            regularizer=regularizer,
            dtype=self.router_dtype,
            autocast=False,
        )

    def add_state(self, name, shape=(), initializer="zeros"):
        """Adds a weight that `call` moves by itself, without a gradient.

        Move it only where `self.trainable` is true. All replicas must assign
        the same value.
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
        """Checks the arguments of `call`, see `routing.checked_mask`."""
        return checked_mask(mask, inputs, self.gate_kernel.shape[-2])

    def tokens(self, inputs, mask=None):
        """Converts inputs to the router's dtype, with zeros for masked tokens.

        Args:
            inputs: Tensor or variable `(N, D)`.
            mask: Optional boolean tensor `(N,)`.

        Returns:
            Tensor `(N, D)`.
        """
        tokens_ND = tf.cast(tf.convert_to_tensor(inputs), self.router_dtype)
        if mask is None:
            return tokens_ND
        # Even a NaN in the padding must not reach a gradient.
        return tf.where(mask[:, None], tokens_ND, 0.0)

    def logits(self, inputs, mask=None, jitter=0.0, seed=None):
        """Computes `x W_gate`, each x times a random number in 1 +- `jitter`.

        With `use_bias` the bias is added.

        Args:
            inputs: Tensor or variable `(N, D)`.
            mask: Optional boolean tensor `(N,)`. Masked tokens count as
                zeros.
            jitter: float; 0 out of training.
            seed: Seed generator of the jitter.

        Returns:
            Tensor `(N, E)` of the router's dtype.
        """
        tokens_ND = self.tokens(inputs, mask)
        if jitter:
            tokens_ND *= keras.random.uniform(
                tf.shape(tokens_ND),
                1.0 - jitter,
                1.0 + jitter,
                dtype=self.router_dtype,
                seed=seed,
            )
        return self.biased(tf.matmul(tokens_ND, self.gate_kernel))

    def biased(self, logits):
        """Adds the bias of the router to logits `(N, E)`, if it has one."""
        return logits + self.gate_bias if self.use_bias else logits

    def routing(self, expert_index, gate, mask=None):
        """Makes a `Routing` of choices, without those of masked tokens.

        Args:
            expert_index: int32 tensor `(N, K)`, -1 for no expert.
            gate: Tensor `(N, K)`, 0 where there is no expert.
            mask: Optional boolean tensor `(N,)`.

        Returns:
            A `Routing` whose load counts tokens, without loss and metrics.
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
            metrics={},
        )

    def quantize(self, mode=None, type_check=True, config=None):
        """Leave the router as it is, whatever `keras.Model.quantize` asks for.

        It is small, and an expert that is chosen wrongly costs more than
        weights that are rounded.
        """

    def compute_mask(self, inputs, previous_mask):
        return None

    def get_config(self):
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "use_bias": self.use_bias,
        }

    @classmethod
    def arguments_for(cls, sizes):
        """Returns the constructor's arguments that follow from sizes.

        Args:
            sizes: `GateSizes`.

        Returns:
            dict, without the options of the gate.
        """
        return {"num_experts": sizes.num_experts, "k": sizes.k}

    @classmethod
    def cost(cls, sizes):
        """Returns what a gate of these sizes costs, a `GateCost`.

        By default that of one kernel, and of a softmax of its logits.

        Args:
            sizes: `GateSizes`.
        """
        weights = {"gate_kernel": (sizes.depth, sizes.num_experts)}
        if sizes.bias:
            weights["gate_bias"] = (sizes.num_experts,)
        return GateCost(
            weights=weights,
            ops=sizes.depth * sizes.num_experts,
            kept=sizes.num_experts,
        )

    @classmethod
    def options(cls):
        """Returns the options of the gate with their defaults.

        Options are the optional arguments of the constructor but those in
        `not_options`.

        Returns:
            dict of defaults, by name.

        Example:

        >>> Router.options()
        {'kernel_initializer': 'glorot_uniform', 'kernel_regularizer': None, \
'use_bias': False}
        """
        options = {}
        for kind in cls.__mro__[: cls.__mro__.index(keras.layers.Layer)]:
            for name, argument in inspect.signature(
                kind.__init__
            ).parameters.items():
                is_optional = argument.default is not argument.empty
                if is_optional and name not in cls.not_options:
                    options.setdefault(name, argument.default)
        return options


def count_tokens(tokens, mask=None):
    """Counts the tokens that a mask keeps, in the dtype of `tokens`.

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
    """Computes the probability of some experts in the softmax over all.

    Args:
        top: Tensor `(N, K)`, logits of the chosen experts.
        logits: Tensor `(N, E)`, logits of all experts.

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
    """Computes the weighted balance loss and z-loss of a batch.

    Args:
        logits: Tensor `(N, E)`.
        load: Tensor `(E,)`, choices of each expert on this replica.
        mask: Boolean tensor `(N,)` or None.
        balance_loss_weight: float. Weight of `losses.balance_loss`.
        z_loss_weight: float. Weight of `losses.z_loss`.

    Returns:
        Scalar tensor, the loss of the batch that replicas share and the same
        on each.

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
        own_loss = z_loss(logits, mask, num_tokens)
        loss += z_loss_weight * sum_over_replicas(own_loss)
    return loss
