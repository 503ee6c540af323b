"""How a decoder reads the source: keys, scores, a weighted mean of values.

T: target length    B: batch    S: source length    D: depth of the values
P: size of the query    A: attention size

Three layers with one contract. `prepare` does once what depends on the source
alone; a call then takes the queries `(B, P)` of one decoder step.

The mathematics is in `scoring`, an object without state, because a recurrence
that attends in every step (`translation/attentive_lstm.py`) needs it in
pieces: what one step computes, its gradient, and the gradients of weights and
keys, which are found for all steps together. With `code` short for what a
score needs of the query, a scoring has

    encode(query_BP, parameters) -> code_BA
    scores(code_BA, keys_BSA, parameters) -> scores_BS
    scores_backward(ds_BS, code_BA, keys_BSA, transposed) -> d_code_BA
    encode_backward(d_code_BA, code_BA, transposed) -> d_query_BP
    transpose(parameters) -> transposed: the same with kernels transposed
    gradients(query_TBP, code_TBA, ds_TBS, d_code_TBA, keys_BSA, parameters)
        -> (d_keys_BSA, *gradients of the parameters)
"""

import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from moe_keras.lstm_step import weight_gradient

MASKED = -1e9  # added to the score of padding: its softmax is exactly 0


class AttentionMemory(NamedTuple):
    """The source sentences of a batch, prepared for attention."""

    keys: tf.Tensor  # (B, S, A)
    values: tf.Tensor  # (B, S, D)
    bias: tf.Tensor  # (B, S), 0 or -1e9 where masked


@dataclasses.dataclass(frozen=True)
class DotScoring:
    """score(x, y) = key(x) . y"""

    def encode(self, query_BP, parameters):
        return query_BP

    def scores(self, code_BA, keys_BSA, parameters):
        return tf.linalg.matvec(keys_BSA, code_BA)

    def scores_backward(self, ds_BS, code_BA, keys_BSA, transposed):
        return tf.linalg.matvec(keys_BSA, ds_BS, transpose_a=True)

    def encode_backward(self, d_code_BA, code_BA, transposed):
        return d_code_BA

    def transpose(self, parameters):
        return ()

    def gradients(
        self, query_TBP, code_TBA, ds_TBS, d_code_TBA, keys_BSA, parameters
    ):
        return (sum_of_outer_products(ds_TBS, code_TBA),)


@dataclasses.dataclass(frozen=True)
class ProductScoring:
    """score(x, y) = V . (key(x) tanh(y W)); parameters W (P, A) and V (A,)"""

    def encode(self, query_BP, parameters):
        kernel_PA, _ = parameters
        return tf.tanh(tf.matmul(query_BP, kernel_PA))

    def scores(self, code_BA, keys_BSA, parameters):
        _, scale_A = parameters
        return tf.linalg.matvec(keys_BSA, scale_A * code_BA)

    def scores_backward(self, ds_BS, code_BA, keys_BSA, transposed):
        _, scale_A = transposed
        return scale_A * tf.linalg.matvec(keys_BSA, ds_BS, transpose_a=True)

    def encode_backward(self, d_code_BA, code_BA, transposed):
        kernel_AP, _ = transposed
        d_product_BA = tf.raw_ops.TanhGrad(y=code_BA, dy=d_code_BA)
        return tf.matmul(d_product_BA, kernel_AP)

    def transpose(self, parameters):
        kernel_PA, scale_A = parameters
        return tf.transpose(kernel_PA), scale_A

    def gradients(
        self, query_TBP, code_TBA, ds_TBS, d_code_TBA, keys_BSA, parameters
    ):
        _, scale_A = parameters
        d_product_TBA = tf.raw_ops.TanhGrad(y=code_TBA, dy=d_code_TBA)
        d_pairs_BSA = sum_of_outer_products(ds_TBS, code_TBA)
        return (
            scale_A * d_pairs_BSA,
            weight_gradient(query_TBP, d_product_TBA),
            tf.reduce_sum(keys_BSA * d_pairs_BSA, axis=[0, 1]),
        )


@dataclasses.dataclass(frozen=True)
class AdditiveScoring:
    """score(x, y) = V . tanh(key(x) + y W); parameters W (P, A) and V (A,)

    A tanh for each pair of source and target position: the slow one.
    """

    def encode(self, query_BP, parameters):
        kernel_PA, _ = parameters
        return tf.matmul(query_BP, kernel_PA)

    def scores(self, code_BA, keys_BSA, parameters):
        _, scale_A = parameters
        tanh_BSA = tf.tanh(keys_BSA + code_BA[:, tf.newaxis])
        return tf.linalg.matvec(tanh_BSA, scale_A)

    def scores_backward(self, ds_BS, code_BA, keys_BSA, transposed):
        d_sum_BSA, _ = self._pairs(ds_BS, code_BA, keys_BSA, transposed)
        return tf.reduce_sum(d_sum_BSA, axis=1)

    def encode_backward(self, d_code_BA, code_BA, transposed):
        kernel_AP, _ = transposed
        return tf.matmul(d_code_BA, kernel_AP)

    def transpose(self, parameters):
        kernel_PA, scale_A = parameters
        return tf.transpose(kernel_PA), scale_A

    def gradients(
        self, query_TBP, code_TBA, ds_TBS, d_code_TBA, keys_BSA, parameters
    ):
        # Step by step: all pairs at once would take T times the memory.
        def body(step, d_keys_BSA, d_scale_A):
            d_sum_BSA, tanh_BSA = self._pairs(
                ds_TBS[step], code_TBA[step], keys_BSA, parameters
            )
            d_scale_A += tf.einsum("BS,BSA->A", ds_TBS[step], tanh_BSA)
            return step + 1, d_keys_BSA + d_sum_BSA, d_scale_A

        _, d_keys_BSA, d_scale_A = tf.while_loop(
            lambda step, *_: step < tf.shape(ds_TBS)[0],
            body,
            (0, tf.zeros_like(keys_BSA), tf.zeros_like(parameters[1])),
        )
        return d_keys_BSA, weight_gradient(query_TBP, d_code_TBA), d_scale_A

    def _pairs(self, ds_BS, code_BA, keys_BSA, parameters):
        _, scale_A = parameters
        tanh_BSA = tf.tanh(keys_BSA + code_BA[:, tf.newaxis])
        d_tanh_BSA = ds_BS[:, :, tf.newaxis] * scale_A
        return tf.raw_ops.TanhGrad(y=tanh_BSA, dy=d_tanh_BSA), tanh_BSA


def sum_of_outer_products(x_TBX, y_TBY):
    """`(B, X, Y)`: for each sentence the sum over steps, as one product."""
    return tf.einsum("TBX,TBY->BXY", x_TBX, y_TBY)


def attend(scoring, query_BP, memory, parameters):
    """One step: `(context (B, D), alignment (B, S), code (B, A))`.

    The softmax is done in the dtype of `memory.bias`, float32 or wider.
    """
    code_BA = scoring.encode(query_BP, parameters)
    scores_BS = scoring.scores(code_BA, memory.keys, parameters)
    alignment_BS = tf.nn.softmax(
        tf.cast(scores_BS, memory.bias.dtype) + memory.bias
    )
    context_BD = tf.linalg.matvec(
        memory.values,
        tf.cast(alignment_BS, memory.values.dtype),
        transpose_a=True,
    )
    return context_BD, alignment_BS, code_BA


def softmax_dtype(compute_dtype):
    return "float64" if compute_dtype == "float64" else "float32"


class Attention(keras.layers.Layer):
    """What the attentions share: the contract, not a layer of its own."""

    scoring = DotScoring()

    def prepare(self, values, mask=None):
        """Does what depends on the source alone, once for all steps.

        Args:
            values: Tensor `(B, S, D)`, what the encoder gives out.
            mask: optional bool tensor `(B, S)`, False at padding.

        Returns:
            An `AttentionMemory`.
        """
        values = ops.cast(values, self.compute_dtype)
        dtype = softmax_dtype(self.compute_dtype)
        if mask is None:
            bias_BS = ops.zeros_like(values[:, :, 0], dtype=dtype)
        else:
            bias_BS = (1.0 - ops.cast(mask, dtype)) * MASKED
        return AttentionMemory(self.keys(values), values, bias_BS)

    def keys(self, values):
        """Keys `(B, S, A)` of values `(B, S, D)`."""
        return values

    def parameters(self):
        """The tensors that `scoring` works with, a tuple."""
        return ()

    def call(self, query, memory):
        context, alignment, _ = attend(
            self.scoring, query, memory, self.parameters()
        )
        return context, alignment

    def compute_output_shape(self, query_shape, memory_shape):
        _, values_shape, bias_shape = memory_shape
        return (query_shape[0], values_shape[-1]), tuple(bias_shape)


class _LearnedAttention(Attention):
    """An attention with maps of keys and queries to `units` dimensions."""

    key_activation = None

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"`units` must be at least 1. Received: {units}")
        self.units = units
        self.key_map = keras.layers.Dense(
            units,
            activation=self.key_activation,
            use_bias=False,
            dtype=self.dtype_policy,
            name="key_map",
        )

    def build(self, query_shape, memory_shape):
        values_shape = memory_shape[1]
        if not self.key_map.built:
            self.key_map.build(values_shape)
        self.query_kernel = self.add_weight(
            name="query_kernel", shape=(query_shape[-1], self.units)
        )
        self.scale = self.add_weight(name="scale", shape=(self.units,))

    def keys(self, values):
        return self.key_map(values)

    def parameters(self):
        return (
            tf.convert_to_tensor(self.query_kernel),
            tf.convert_to_tensor(self.scale),
        )

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="translation")
class ProductAttention(_LearnedAttention):
    """The attention of the paper's appendix G, cheap for many pairs.

        A(x_i, y_j) = sum_d V_d tanh((x_i U)_d) tanh((y_j W)_d)

    The keys `tanh(x U)` are made once for each sentence, and scores are then
    plain products (arXiv:1701.06538, appendix G).

    Args:
        units: int. Attention size `A`.

    Call arguments:
        query: Tensor `(B, P)`.
        memory: `AttentionMemory`, the result of `prepare`.

    Returns:
        Context `(B, D)`, the mean of the values weighted by the alignment,
        and the alignment `(B, S)`, which is 0 where masked. A sentence
        without any real token gets an even alignment.

    Example:

    >>> attention = ProductAttention(8)
    >>> memory = attention.prepare(keras.random.normal((2, 5, 4)))
    >>> context, alignment = attention(keras.random.normal((2, 3)), memory)
    >>> tuple(context.shape), tuple(alignment.shape)
    ((2, 4), (2, 5))
    """

    scoring = ProductScoring()
    key_activation = "tanh"


@keras.saving.register_keras_serializable(package="translation")
class AdditiveAttention(_LearnedAttention):
    """The attention of Bahdanau et al. (arXiv:1409.0473), also GNMT's.

        A(x_i, y_j) = sum_d V_d tanh((x_i U)_d + (y_j W)_d)

    Arguments and results are those of `ProductAttention`.

    Example:

    >>> attention = AdditiveAttention(8)
    >>> memory = attention.prepare(keras.random.normal((2, 5, 4)))
    >>> context, alignment = attention(keras.random.normal((2, 3)), memory)
    >>> tuple(context.shape), tuple(alignment.shape)
    ((2, 4), (2, 5))
    """

    scoring = AdditiveScoring()


@keras.saving.register_keras_serializable(package="translation")
class DotAttention(Attention):
    """The attention of Luong et al. (arXiv:1508.04025), "dot".

        A(x_i, y_j) = x_i . y_j

    Query and values must be of one size. Otherwise arguments and results are
    those of `ProductAttention`, without `units`.

    Example:

    >>> attention = DotAttention()
    >>> memory = attention.prepare(keras.random.normal((2, 5, 4)))
    >>> context, alignment = attention(keras.random.normal((2, 4)), memory)
    >>> tuple(context.shape), tuple(alignment.shape)
    ((2, 4), (2, 5))
    """

    def build(self, query_shape, memory_shape):
        values_shape = memory_shape[1]
        if query_shape[-1] != values_shape[-1]:
            raise ValueError(
                "`DotAttention` needs queries and values of one size; "
                "`ProductAttention` and `AdditiveAttention` map them. "
                f"Received: query_shape={tuple(query_shape)}, "
                f"values_shape={tuple(values_shape)}"
            )
