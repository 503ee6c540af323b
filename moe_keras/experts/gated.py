"""Experts with a gated hidden layer, as in Mixtral.

E: experts    C: slots of an expert    D: depth    H: hidden size
S: slots of all experts, sorted by expert
"""

import keras
import tensorflow as tf

from moe_keras.checks import check_sizes, given
from moe_keras.experts.activation import (
    Activation,
    activation_without_weights,
)
from moe_keras.experts.feed_forward import feed_forward
from moe_keras.experts.glu import checked_glu
from moe_keras.experts.initial_values import each_alone
from moe_keras.experts.stacked import StackedExperts


@keras.saving.register_keras_serializable(package="moe_keras")
class GatedFeedForwardExperts(StackedExperts):
    """E feed-forward networks with a gated hidden layer (SwiGLU).

    `y = (silu(x W_gate) * (x W_in)) W_out` (arXiv:2002.05202), by default
    without biases. A block of Mixtral (arXiv:2401.04088) is

        SparseMoE(
            num_experts=8,
            gate=TopKGate(8, k=2),
            expert=GatedFeedForwardExperts(8, hidden_dim=14336),
        )

    and its weights w1, w3 and w2 are, transposed, W_gate, W_in and W_out.
    W_gate and W_in lie side by side in one weight, `kernel_in (E, D, 2 H)`,
    W_gate first, so that a token is read once; `kernel_out` is `(E, H, D')`.
    Biases are `bias_in (E, 2 H)`, in the same order, and `bias_out (E, D')`.

    `glu` replaces the product of the two: the experts of GPT-OSS are
    `GatedFeedForwardExperts(32, 2880, glu=ClampedGLU(), use_bias=True)`. Its
    files have gate and linear columns in turn (`[..., ::2]` and `[..., 1::2]`);
    put the former before the latter.

    It takes batches `(E, C, D)` and ragged segments `(S, D)` with `counts`,
    see `FeedForwardExperts`.

    Args:
        num_experts: int. Number of experts E.
        hidden_dim: int. Hidden size H of each expert.
        output_dim: int. Output size D'; by default that of the input.
        activation: Name or function, applied to `x W_gate`; "gelu" makes it
            GEGLU, "sigmoid" the first GLU.
        recompute: bool. Compute the hidden layer again in the backward pass
            instead of keeping it: memory for time.
        kernel_initializer: Initializer of the kernels. Each expert is drawn
            as if it were alone, and so is each kernel.
        kernel_regularizer: Keras regularizer or None, of each expert's three
            kernels: see `FeedForwardExperts`.
        use_bias: bool. Whether all three products have a bias, zeros at first.
        bias_regularizer: Keras regularizer or None, of the biases.
        glu: Function `(gate, linear) -> hidden` of tensors `(N, H)`, without
            variables, such as `moe_keras.experts.ClampedGLU`; None for
            `activation(gate) * linear`. Register one of your own with
            `keras.saving.register_keras_serializable` to load what you save.
        **kwargs: `lora_rank`, `lora_alpha`, `quantization` and
            `sparse_gradients`, see `StackedExperts`, and arguments of every
            Keras layer.

    Call arguments:
        inputs: Tensor `(E, C, D)`, or `(S, D)` with `counts`.
        counts: Optional int32 tensor `(E,)`, slots of each expert.
        local: `LocalExperts` if only some of the experts are to run.
        training: bool.

    Returns:
        Tensor `(E, C, D')`, or `(S, D')`.

    Raises:
        ValueError: If a size is below 1, `glu` is no such function, or both
            `glu` and an `activation` are given.

    Example:

    >>> experts = GatedFeedForwardExperts(num_experts=3, hidden_dim=16)
    >>> tuple(experts(keras.ops.ones((3, 5, 8))).shape)
    (3, 5, 8)
    >>> tuple(experts.kernel_in.shape), tuple(experts.kernel_out.shape)
    ((3, 8, 32), (3, 16, 8))
    """

    supports_segments = True
    compiles_segments = True  # with XLA

    def __init__(
        self,
        num_experts,
        hidden_dim,
        output_dim=None,
        activation="silu",
        recompute=False,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        use_bias=False,
        bias_regularizer=None,
        glu=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_sizes(num_experts=num_experts, hidden_dim=hidden_dim)
        check_sizes(**given(output_dim=output_dim))
        self.num_experts = num_experts
        self.hidden_dim = hidden_dim
        self.output_dim = output_dim
        self.activation = activation_without_weights(activation, hidden_dim)
        if glu is not None:
            glu = checked_glu(glu, hidden_dim)
            if self.activation is not keras.activations.silu:
                raise ValueError(
                    "`activation` must be left out with `glu`, which takes its "
                    f"place. Received: activation={activation!r}, glu={glu!r}"
                )
        self.glu = glu
        self.recompute = recompute
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.use_bias = use_bias
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def build(self, input_shape):
        depth = input_shape[-1]
        self.kernel_in = self.add_expert_weight(
            "kernel_in",
            _two_side_by_side(self.kernel_initializer),
            side_by_side=2,
            regularizer=self.kernel_regularizer,
            depth=depth,
            hidden=2 * self.hidden_dim,
        )
        if self.use_bias:
            self.bias_in = self._add_bias(
                "bias_in", side_by_side=2, hidden=2 * self.hidden_dim
            )
        self.kernel_out = self.add_expert_weight(
            "kernel_out",
            each_alone(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            hidden=self.hidden_dim,
            output=self.output_dim or depth,
        )
        if self.use_bias:
            self.bias_out = self._add_bias(
                "bias_out", output=self.output_dim or depth
            )

    def _add_bias(self, name, side_by_side=1, **dims):
        return self.add_expert_weight(
            name,
            each_alone(keras.initializers.Zeros()),
            side_by_side=side_by_side,
            regularizer=self.bias_regularizer,
            **dims,
        )

    def call(self, inputs, counts=None, local=None, training=False):
        weights = [
            self.read("kernel_in", local, factored=True),
            self.read("kernel_out", local, factored=True),
        ]
        if self.use_bias:
            # As they are: their gradients are summed in their own precision.
            weights.append(self.read("bias_in", local, cast=False))
            weights.append(self.read("bias_out", local, once=True, cast=False))
        return feed_forward(
            tf.cast(inputs, self.compute_dtype),  # of integers as well
            counts,
            weights,
            Activation(lambda hidden, expert: self.join(hidden)),
            recompute=self.recompute,
            training=training,
            sparse_gradients=self.sparse_gradients,
        )

    def join(self, hidden):
        """The hidden layer `(N, H)` of the products `(N, 2 H)`."""
        gate, linear = tf.split(hidden, 2, axis=-1)
        if self.glu is not None:
            return self.glu(gate, linear)
        return self.activation(gate) * linear

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_dim or input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "hidden_dim": self.hidden_dim,
            "output_dim": self.output_dim,
            "activation": keras.activations.serialize(self.activation),
            "recompute": self.recompute,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "use_bias": self.use_bias,
            "bias_regularizer": keras.regularizers.serialize(
                self.bias_regularizer
            ),
            "glu": keras.saving.serialize_keras_object(self.glu),
        }


def _two_side_by_side(initializer):
    draw = each_alone(initializer)

    def draw_two(expert, shape, dtype=None):
        depth, width = shape
        halves = [
            draw(2 * expert + half, (depth, width // 2), dtype)
            for half in range(2)
        ]
        return tf.concat(halves, axis=-1)

    return draw_two
