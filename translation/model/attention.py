"""Attention of a decoder to the source: keys, scores, a mean of values.

B: batch    S: source length    D: depth of the values    P: size of the query
A: attention size

Three layers with one contract. `prepare` does once what depends on the source
alone; a call then takes the queries `(B, P)` of one decoder step. How a score
is computed stands in `translation/model/attention_scoring.py`.
"""

from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from moe_keras.packed.layer import PackedMatrices
from moe_keras.recurrent.projected_lstm import as_computed
from translation.model.attention_scoring import (
    AdditiveScoring,
    DotScoring,
    ProductScoring,
    attend,
)

MASKED = -1e9  # added to the score of padding: its softmax is exactly 0


class AttentionMemory(NamedTuple):
    """The source sentences of a batch, prepared for attention."""

    keys: tf.Tensor  # (B, S, A)
    values: tf.Tensor  # (B, S, D)
    bias: tf.Tensor  # (B, S), 0 or -1e9 where masked


def softmax_dtype(compute_dtype):
    """The softmax is done in float32, or wider where products are."""
    return "float64" if compute_dtype == "float64" else "float32"


class Attention(keras.layers.Layer):
    """Base class of the attentions: the contract, not a layer of its own."""

    scoring = DotScoring()

    def prepare(self, values, mask=None):
        """Does what depends on the source alone, once for all steps.

        Args:
            values: Tensor `(B, S, D)`, what the encoder gives out.
            mask: optional bool tensor `(B, S)`, False at padding, whose values
                are taken as zeros.

        Returns:
            An `AttentionMemory`.
        """
        values = ops.cast(values, self.compute_dtype)
        dtype = softmax_dtype(self.compute_dtype)
        if mask is None:
            bias_BS = ops.zeros_like(values[:, :, 0], dtype=dtype)
        else:
            bias_BS = (1.0 - ops.cast(mask, dtype)) * MASKED
            # An alignment of 0 times NaN would be NaN.
            is_real = tf.cast(mask, tf.bool)[:, :, None]
            values = tf.where(is_real, values, tf.zeros_like(values))
        return AttentionMemory(self.keys(values), values, bias_BS)

    def keys(self, values):
        """Keys `(B, S, A)` of values `(B, S, D)`."""
        return values

    def parameters(self):
        """The tensors that `scoring` works with, a tuple."""
        return ()

    def call(self, query, memory):
        # Keras has cast the memory on its way here.
        bias_BS = ops.cast(memory.bias, softmax_dtype(self.compute_dtype))
        memory = memory._replace(bias=bias_BS)
        context, alignment, _ = attend(
            self.scoring, query, memory, self.parameters()
        )
        return context, alignment

    def compute_output_shape(self, query_shape, memory_shape):
        _, values_shape, bias_shape = memory_shape
        return (query_shape[0], values_shape[-1]), tuple(bias_shape)


class _LearnedAttention(PackedMatrices, Attention):
    """An attention with maps of keys and queries to `units` dimensions."""

    key_activation = None
    scale_initializer = "glorot_uniform"
    matrices = {"query_kernel": 0}
    made = ("query_kernel", "scale")

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
        self.query_kernel = self.add_matrix(
            "query_kernel", (query_shape[-1], self.units)
        )
        self.scale = self.add_weight(
            name="scale",
            shape=(self.units,),
            initializer=self.scale_initializer,
        )

    def keys(self, values):
        return self.key_map(values)

    def parameters(self):
        return (
            as_computed(self, self.query_kernel),
            as_computed(self, self.scale),
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
        **kwargs: `quantization`, see `moe_keras.packed.layer.FewBits`, and
            arguments of every Keras layer.

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
    # Products of two small numbers: from a small scale as well, attention
    # would stay even for a long time.
    scale_initializer = "ones"


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
