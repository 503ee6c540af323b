"""Experts: layers that run all experts at once.

E: experts    C: slots of an expert    D: depth    H: hidden size
S: slots of all experts, sorted by expert
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_fraction, check_sizes, given
from moe_keras.experts.activation import (
    Activation,
    activation_without_weights,
    plain_activation,
)
from moe_keras.experts.batches import feed_forward_batches
from moe_keras.experts.blocks import feed_forward_blocks
from moe_keras.experts.few_rows import are_small, feed_forward_small
from moe_keras.experts.initial_values import each_alone
from moe_keras.experts.kernels import is_plain
from moe_keras.experts.segments import feed_forward_segments
from moe_keras.experts.stacked import StackedExperts
from moe_keras.gradients.custom_gradient import recomputed
from moe_keras.xla import is_compiled_by_xla


@keras.saving.register_keras_serializable(package="moe_keras")
class FeedForwardExperts(StackedExperts):
    """E feed-forward networks of one hidden layer, each for its own tokens.

    `y = activation(x W_in + b_in) W_out + b_out`, with ReLU the paper's
    expert. The weights of all experts are stacked, so that an expert without
    a token has a gradient of zero and not None.

    On segments `tape.jacobian` and `batch_jacobian` need a persistent tape and
    `experimental_use_pfor=False`; `tf.vectorized_map` does not work: call the
    layer with all tokens at once, or use `tf.map_fn`.

    Two shapes of input are served:

    - `(E, C, D)`, a batch of one size for each expert: two batched products.
    - `(S, D)` and `counts (E,)`: the tokens of all experts, sorted by expert,
      the first `counts[0]` those of expert 0 and so on. No padding, and no
      limit to how uneven the counts are. Rows behind the last expert's belong
      to nobody and give zeros. `supports_segments` tells `SparseMoE` of it.

    Args:
        num_experts: int. Number of experts E.
        hidden_dim: int. Hidden size H of each expert.
        output_dim: int. Output size D'; by default that of the input.
        activation: Name or function, applied to the hidden layer.
        use_bias: bool. Whether both layers have a bias.
        dropout: float. Fraction of the hidden activations dropped in training.
        recompute: bool. Compute the hidden layer again in the backward pass
            instead of keeping it: memory for time (appendix D).
        kernel_initializer: Initializer of the kernels. Each expert is drawn
            as if it were alone: fans are those of one expert.
        kernel_regularizer, bias_regularizer: Keras regularizers or None. The
            losses of all experts are summed, as if each were a layer of its
            own, whether it has tokens or not. Not under a layout that splits
            the experts.
        seed: int. Seed of dropout.
        **kwargs: `lora_rank`, `lora_alpha`, `quantization` and
            `sparse_gradients`, see `StackedExperts`, and arguments of every
            Keras layer.

    Call arguments:
        inputs: Tensor `(E, C, D)`, or `(S, D)` with `counts`.
        counts: Optional int32 tensor `(E,)`, slots of each expert.
        local: `LocalExperts` if only some of the experts are to run.
        training: bool. Dropout is for training only.

    Returns:
        Tensor `(E, C, D')`, or `(S, D')`.

    Raises:
        ValueError: If a size is below 1, or `dropout` not from 0 to below 1.

    Example:

    >>> experts = FeedForwardExperts(num_experts=3, hidden_dim=16)
    >>> tuple(experts(keras.ops.ones((3, 5, 8))).shape)
    (3, 5, 8)
    >>> tuple(experts(keras.ops.ones((6, 8)), counts=[4, 0, 2]).shape)
    (6, 8)
    """

    supports_segments = True
    compiles_segments = True  # with XLA

    def __init__(
        self,
        num_experts,
        hidden_dim,
        output_dim=None,
        activation="relu",
        use_bias=True,
        dropout=0.0,
        recompute=False,
        kernel_initializer="glorot_uniform",
        seed=None,
        kernel_regularizer=None,
        bias_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_sizes(num_experts=num_experts, hidden_dim=hidden_dim)
        check_sizes(**given(output_dim=output_dim))
        check_fraction(dropout=dropout)
        self.num_experts = num_experts
        self.hidden_dim = hidden_dim
        self.output_dim = output_dim
        self.activation = activation_without_weights(activation, hidden_dim)
        self.use_bias = use_bias
        self.dropout = dropout
        self.recompute = recompute
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        depth, hidden = input_shape[-1], self.hidden_dim
        output = self.output_dim or depth
        self.kernel_in = self._add_kernel(
            "kernel_in", depth=depth, hidden=hidden
        )
        if self.use_bias:
            self.bias_in = self._add_bias("bias_in", hidden=hidden)
        self.kernel_out = self._add_kernel(
            "kernel_out", hidden=hidden, output=output
        )
        if self.use_bias:
            self.bias_out = self._add_bias("bias_out", output=output)

    def _add_kernel(self, name, **dims):
        draw = each_alone(self.kernel_initializer)
        return self.add_expert_weight(
            name, draw, regularizer=self.kernel_regularizer, **dims
        )

    def _add_bias(self, name, **dims):
        draw = each_alone(keras.initializers.Zeros())
        return self.add_expert_weight(
            name, draw, regularizer=self.bias_regularizer, **dims
        )

    def call(self, inputs, counts=None, local=None, training=False):
        inputs = tf.cast(inputs, self.compute_dtype)  # of integers as well
        weights = [
            self.read("kernel_in", local, factored=True),
            self.read("kernel_out", local, factored=True),
        ]
        if self.use_bias:
            # As they are: their gradients are summed in their own precision.
            weights.append(self.read("bias_in", local, cast=False))
            weights.append(self.read("bias_out", local, once=True, cast=False))
        return feed_forward(
            inputs,
            counts,
            weights,
            self._activation(local, training),
            recompute=self.recompute,
            training=training,
            sparse_gradients=self.sparse_gradients,
        )

    def join(self, hidden):
        """The hidden layer `(N, H)` after its activation, without dropout."""
        return self.activation(hidden)

    def _activation(self, local, training):
        if not (training and self.dropout):
            return plain_activation(self.activation)
        # One seed a call and no generator inside: recomputing must drop the
        # same activations again.
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        seed = seed if local is None else local.seed(seed)

        def activate_and_drop(hidden, expert):
            return tf.nn.experimental.stateless_dropout(
                self.activation(hidden),
                self.dropout,
                seed=tf.stack([seed[0] + expert, seed[1]]),
            )

        return Activation(activate_and_drop)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "hidden_dim": self.hidden_dim,
            "output_dim": self.output_dim,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "recompute": self.recompute,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "bias_regularizer": keras.regularizers.serialize(
                self.bias_regularizer
            ),
            "seed": self.seed,
        }


def feed_forward(
    inputs,
    counts,
    weights,
    activation,
    recompute=False,
    training=False,
    sparse_gradients=False,
):
    """Runs experts of two layers on batches or, with `counts`, on segments.

    Args:
        inputs: Tensor `(E, C, D)`, or `(S, D)` with `counts`.
        counts: int32 tensor `(E,)` or None.
        weights: List of `kernel_in`, `kernel_out` and, where there are any,
            their biases, as for `feed_forward_segments`.
        activation: `Activation`.
        recompute: bool. Compute the hidden layer again in the backward pass.
        training: bool.
        sparse_gradients: bool. As of `StackedExperts`; batches and XLA give
            whole ones.

    Returns:
        Tensor `(E, C, D')`, or `(S, D')`.

    Example:

    >>> from moe_keras.experts.activation import plain_activation
    >>> square = plain_activation(lambda hidden: hidden**2)
    >>> weights = [tf.ones((1, 2, 3)), tf.ones((1, 3, 1))]
    >>> y = feed_forward(tf.ones((1, 1, 2)), None, weights, square)
    >>> float(y[0, 0, 0])  # 3 hidden units of (1 + 1)^2
    12.0
    """
    if inputs.shape.rank == 3 and not is_plain(weights):
        # As segments of C rows: no kernels are unpacked, or added to their
        # pairs, for all experts at once.
        num_experts, capacity, _ = tf.unstack(tf.shape(inputs))
        outputs = feed_forward(
            tf.reshape(inputs, [-1, inputs.shape[-1]]),
            tf.fill([inputs.shape[0] or num_experts], capacity),
            weights,
            activation,
            recompute,
            training,
        )
        shape = [num_experts, capacity, outputs.shape[-1]]
        return tf.reshape(outputs, shape)
    if inputs.shape.rank == 2:
        # Keep nothing at inference: no gradient is expected, and a gradient
        # in a SavedModel cannot capture the list of what is kept.
        recompute = recompute or not training
        arguments = (inputs, counts, weights, activation, recompute)
        if is_compiled_by_xla():  # XLA needs static shapes
            return feed_forward_blocks(*arguments)
        if sparse_gradients and is_plain(weights) and are_small(weights):
            return feed_forward_small(*arguments)
        return feed_forward_segments(*arguments, sparse_gradients)

    def run(inputs_ECD, *weights):
        return feed_forward_batches(inputs_ECD, weights, activation)

    return (recomputed(run) if recompute else run)(inputs, *weights)
