"""Experts: layers that run all experts at once.

E: experts    C: slots of an expert    D: depth    H: hidden size
S: slots of all experts, sorted by expert
"""

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="moe_keras")
class FeedForwardExperts(keras.layers.Layer):
    """E feed-forward networks of one hidden layer, each on its own tokens.

    `y = activation(x W_in + b_in) W_out + b_out`, with ReLU the paper's
    expert. The weights of all experts are stacked, so that an expert without
    a token has a gradient of zero and not None.

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
        dropout: float. Share of the hidden activations to drop in training.
        kernel_initializer: Initializer of the kernels. It applies to each
            expert by itself: the fan is that of one expert.

    Call arguments:
        inputs: Tensor `(E, C, D)`, or `(S, D)` with `counts`.
        counts: Optional int32 tensor `(E,)`, slots of each expert.
        training: bool. Dropout is for training only.

    Returns:
        Tensor `(E, C, D')`, or `(S, D')`.

    Example:

    >>> experts = FeedForwardExperts(num_experts=3, hidden_dim=16)
    >>> tuple(experts(keras.ops.ones((3, 5, 8))).shape)
    (3, 5, 8)
    >>> tuple(experts(keras.ops.ones((6, 8)), counts=[4, 0, 2]).shape)
    (6, 8)
    """

    supports_segments = True

    def __init__(
        self,
        num_experts,
        hidden_dim,
        output_dim=None,
        activation="relu",
        use_bias=True,
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (
            ("num_experts", num_experts),
            ("hidden_dim", hidden_dim),
            ("output_dim", 1 if output_dim is None else output_dim),
        ):
            if value < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. Received: {name}={value}"
                )
        self.num_experts = num_experts
        self.hidden_dim = hidden_dim
        self.output_dim = output_dim
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.dropout_layer = keras.layers.Dropout(
            dropout, dtype=self.dtype_policy
        )

    def build(self, input_shape):
        depth = input_shape[-1]
        output_dim = self.output_dim or depth
        self._add_layer("in", depth, self.hidden_dim)
        self._add_layer("out", self.hidden_dim, output_dim)

    def _add_layer(self, name, fan_in, fan_out):
        kernel = self.add_weight(
            name=f"kernel_{name}",
            shape=(self.num_experts, fan_in, fan_out),
            initializer=self._initialize_kernel,
        )
        bias = None
        if self.use_bias:
            bias = self.add_weight(
                name=f"bias_{name}",
                shape=(self.num_experts, fan_out),
                initializer="zeros",
            )
        setattr(self, f"kernel_{name}", kernel)
        setattr(self, f"bias_{name}", bias)

    def _initialize_kernel(self, shape, dtype=None):
        kernel = self.kernel_initializer(shape, dtype=dtype)
        if isinstance(
            self.kernel_initializer, keras.initializers.VarianceScaling
        ):
            # It takes the leading axis for a receptive field and both fans
            # for E times what they are.
            kernel = kernel * ops.cast(self.num_experts**0.5, kernel.dtype)
        return kernel

    def call(self, inputs, counts=None, training=False):
        if counts is None:
            return self._batched(inputs, training)
        weights = [self.kernel_in, self.kernel_out]
        if self.use_bias:
            weights += [self.bias_in, self.bias_out]
        weights = [tf.unstack(tf.convert_to_tensor(w)) for w in weights]

        def expert(index, rows_CD):
            return self._feed_forward(
                rows_CD, *(w[index] for w in weights), training=training
            )

        return map_segments(expert, inputs, counts)

    def _feed_forward(
        self, rows, kernel_in, kernel_out, bias_in=0, bias_out=0, training=False
    ):
        hidden = tf.matmul(rows, kernel_in)
        if self.use_bias:
            hidden = hidden + bias_in
        hidden = self.activation(hidden)
        hidden = self.dropout_layer(hidden, training=training)
        output = tf.matmul(hidden, kernel_out)
        return output + bias_out if self.use_bias else output

    def _batched(self, inputs_ECD, training):
        biases = ()
        if self.use_bias:
            biases = (self.bias_in[:, None, :], self.bias_out[:, None, :])
        return self._feed_forward(
            inputs_ECD,
            self.kernel_in,
            self.kernel_out,
            *biases,
            training=training,
        )

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
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }


@keras.saving.register_keras_serializable(package="moe_keras")
class ExpertList(keras.layers.Layer):
    """Experts of any kind, one Keras layer each.

    `SparseMoE(expert=make_expert)` makes one of it. Experts may differ, but
    must all return the same depth.

    Args:
        experts: List of layers, each `(C, D) -> (C, D')`.

    Call arguments:
        inputs: Tensor `(E, C, D)`, or `(S, D)` with `counts`, as for
            `FeedForwardExperts`.
        counts: Optional int32 tensor `(E,)`.
        training: bool.

    Returns:
        Tensor `(E, C, D')`, or `(S, D')`.

    Example:

    >>> experts = ExpertList([keras.layers.Dense(4) for _ in range(3)])
    >>> tuple(experts(keras.ops.ones((3, 5, 8))).shape)
    (3, 5, 4)
    """

    supports_segments = True

    def __init__(self, experts, **kwargs):
        super().__init__(**kwargs)
        self.experts = list(experts)
        self.num_experts = len(self.experts)

    def build(self, input_shape):
        for expert in self.experts:
            if not expert.built:
                expert.build((None, input_shape[-1]))

    def call(self, inputs, counts=None, training=False):
        def run(index, rows_CD):
            expert = self.experts[index]
            if expert._call_has_training_arg:
                return expert(rows_CD, training=training)
            return expert(rows_CD)

        if counts is not None:
            return map_segments(run, inputs, counts)
        batches = tf.unstack(inputs, self.num_experts)
        return tf.stack([run(i, rows) for i, rows in enumerate(batches)])

    def compute_output_shape(self, input_shape):
        one = self.experts[0].compute_output_shape((None, input_shape[-1]))
        return (*input_shape[:-1], one[-1])

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "experts": [serialize(expert) for expert in self.experts],
        }

    @classmethod
    def from_config(cls, config):
        load = keras.saving.deserialize_keras_object
        experts = [load(expert) for expert in config["experts"]]
        return cls(**{**config, "experts": experts})


def map_segments(function, slots, counts):
    """Applies `function(index, rows)` to the rows of each expert.

    Args:
        function: Maps an expert's index and its rows `(C, D)` to `(C, D')`.
        slots: Tensor `(S, D)`, sorted by expert.
        counts: int32 `(E,)`, with E static. Rows behind the last expert's
            give zeros.

    Returns:
        Tensor `(S, D')`.

    Example:

    >>> rows = tf.ones((4, 1))
    >>> doubled = map_segments(lambda e, x: x * (e + 1), rows, [1, 2])
    >>> doubled.numpy().ravel().tolist()
    [1.0, 2.0, 2.0, 0.0]
    """
    counts_E = tf.convert_to_tensor(counts, tf.int32)
    num_experts = counts_E.shape[0]
    rest = tf.shape(slots)[0] - tf.reduce_sum(counts_E)
    sizes = tf.concat([counts_E, rest[None]], 0)
    *segments, _ = tf.split(slots, sizes, num=num_experts + 1)
    outputs = [function(i, rows) for i, rows in enumerate(segments)]
    nobody = tf.zeros([rest, outputs[0].shape[-1]], outputs[0].dtype)
    return tf.concat([*outputs, nobody], 0)
