"""The first decoder LSTM, which attends to the source in every step.

T: target length    B: batch    S: source length    D: depth of the values
H: hidden units    P: size of the output    A: attention size
R: P + D, size of the feedback `[output, context]`    Z: 4 H preactivations
"""

import dataclasses

import keras
import tensorflow as tf
from keras import ops

from moe_keras.checks import check_sizes, given
from moe_keras.packed.layer import PackedMatrices
from moe_keras.recurrent.projected_lstm import (
    KERNELS_OF_LSTM,
    WEIGHTS_OF_LSTM,
    as_computed,
    cell_dtype,
    forget_bias_initializer,
    input_gates,
    lstm_step,
    never_narrow,
)
from moe_keras.recurrent.recurrence import recurrence
from translation.model.attention import AttentionMemory
from translation.model.attention_scoring import attend, sum_of_outer_products


@dataclasses.dataclass(frozen=True)
class AttentiveFeedback:
    """The feedback `[output, context]` of an LSTM that attends.

    Its parameters are the projection's, if there is one, the memory's keys
    and values, and those of the scoring; the memory's bias is its constant.
    """

    scoring: object  # see translation/model/attention_scoring.py
    output: object  # `lstm_step.Direct()` or `lstm_step.Projected()`

    def forward(self, hidden, parameters, constants):
        projection, memory, scoring = self._unpack(parameters, constants)
        output_BP, _ = self.output.forward(hidden, projection, ())
        context_BD, alignment_BS, code_BA = attend(
            self.scoring, output_BP, memory, scoring
        )
        feedback_BR = tf.concat([output_BP, context_BD], axis=1)
        return feedback_BR, (alignment_BS, code_BA)

    def backward(self, d_feedback, saved, transposed, constants):
        # Back through one step: from the context to the scores, from these to
        # the query, which is the output, and through the projection.
        projection, memory, scoring = self._unpack(transposed, constants)
        alignment_BS, code_BA = saved
        depth = memory.values.shape[-1]
        d_output_BP, d_context_BD = tf.split(d_feedback, [-1, depth], axis=1)
        ds_BS = softmax_backward(
            tf.linalg.matvec(memory.values, d_context_BD), alignment_BS
        )
        d_code_BA = self.scoring.scores_backward(
            ds_BS, code_BA, memory.keys, scoring
        )
        d_output_BP += self.scoring.encode_backward(d_code_BA, code_BA, scoring)
        d_hidden, _ = self.output.backward(d_output_BP, (), projection, ())
        return d_hidden, (d_output_BP, d_context_BD, ds_BS, d_code_BA)

    def gradients(
        self, hidden, feedback, saved, cotangents, parameters, constants
    ):
        # After the loop: the gradient of each weight, of the keys and of the
        # values, each one product over all time steps.
        projection, memory, scoring = self._unpack(parameters, constants)
        alignment_TBS, code_TBA = saved
        d_output_TBP, d_context_TBD, ds_TBS, d_code_TBA = cotangents
        depth = memory.values.shape[-1]
        output_TBP = feedback[:, :, :-depth]
        d_projection = self.output.gradients(
            hidden, None, (), (d_output_TBP,), projection, ()
        )
        d_values_BSD = sum_of_outer_products(
            tf.cast(alignment_TBS, d_context_TBD.dtype), d_context_TBD
        )
        d_keys_BSA, *d_scoring = self.scoring.gradients(
            output_TBP, code_TBA, ds_TBS, d_code_TBA, memory.keys, scoring
        )
        return (*d_projection, d_keys_BSA, d_values_BSD, *d_scoring)

    def transpose(self, parameters):
        projection, memory, scoring = self._unpack(parameters, (None,))
        return (
            *self.output.transpose(projection),
            memory.keys,
            memory.values,
            *self.scoring.transpose(scoring),
        )

    def saved_dtypes(self, parameters):
        dtype = parameters[0].dtype
        return [tf.as_dtype(cell_dtype(dtype.name)), dtype]

    def cotangent_dtypes(self, parameters):
        return 4 * [parameters[0].dtype]

    def _unpack(self, parameters, constants):
        split = self.output.num_parameters
        keys_BSA, values_BSD, *scoring = parameters[split:]
        memory = AttentionMemory(keys_BSA, values_BSD, *constants)
        return parameters[:split], memory, tuple(scoring)


def softmax_backward(d_alignment_BS, alignment_BS):
    """Gradient of the scores, in the dtype of `d_alignment_BS`."""
    d_BS = tf.cast(d_alignment_BS, alignment_BS.dtype)
    mean_B1 = tf.reduce_sum(d_BS * alignment_BS, axis=1, keepdims=True)
    return tf.cast((d_BS - mean_B1) * alignment_BS, d_alignment_BS.dtype)


@keras.saving.register_keras_serializable(package="translation")
class AttentiveLSTM(PackedMatrices, keras.layers.Layer):
    """Projected LSTM that feeds an attention and receives its context.

        z_t = x_t W + b + [h_(t-1), context_(t-1)] U
        h_t, c_t = LSTM of z_t and c_(t-1), with projection
        context_t = attention(h_t)

    as the first decoder LSTM of arXiv:1701.06538 (appendix E). Weights are
    `kernel (D', 4H)`, `recurrent_kernel (P + D, 4H)`, `bias (4H,)` and
    `projection_kernel (H, P)`, gates in the order of `ProjectedLSTM`.

    Args:
        units: int. Hidden units `H`.
        projection_dim: int or None. Size `P` of the output; None for `H`.
        attention: an attention of `translation/model/attention.py`.
        kernel_initializer, recurrent_initializer, projection_initializer:
            Initializers of the three kernels.
        compiled: as in `ProjectedLSTM`.
        **kwargs: `quantization`, see `moe_keras.packed.layer.FewBits`, and
            arguments of every Keras layer.

    Call arguments:
        inputs: Tensor `(B, T, D')`.
        memory: what `attention.prepare` made of the source.
        initial_state: optional `[h (B, P), c (B, H), context (B, D)]`; zeros.
        mask: optional bool tensor `(B, T)`. A step where it is False leaves
            the state as it is and gives zeros, whatever the inputs are, NaN
            included. Right padding needs no mask.
        return_alignments: bool. Whether to return the alignments as well.

    Returns:
        Outputs `(B, T, P)`, contexts `(B, T, D)` and, with
        `return_alignments`, alignments `(B, T, S)`, which have no gradient.

    Example:

    >>> from translation.model.attention import ProductAttention
    >>> lstm = AttentiveLSTM(8, 3, ProductAttention(6))
    >>> memory = lstm.attention.prepare(keras.random.normal((2, 5, 4)))
    >>> outputs, contexts = lstm(keras.random.normal((2, 7, 9)), memory)
    >>> tuple(outputs.shape), tuple(contexts.shape)
    ((2, 7, 3), (2, 7, 4))
    """

    matrices = KERNELS_OF_LSTM
    made = WEIGHTS_OF_LSTM

    def __init__(
        self,
        units,
        projection_dim,
        attention,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        projection_initializer="glorot_uniform",
        compiled="auto",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_sizes(units=units, **given(projection_dim=projection_dim))
        self.units = units
        self.projection_dim = projection_dim
        self.attention = attention
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer
        )
        self.projection_initializer = keras.initializers.get(
            projection_initializer
        )
        self.compiled = compiled
        self.supports_masking = True
        self.output_size = projection_dim or units
        self.projection_kernel = None
        if projection_dim is None:
            self.feedback = AttentiveFeedback(
                attention.scoring, lstm_step.Direct()
            )
        else:
            self.feedback = AttentiveFeedback(
                attention.scoring, lstm_step.Projected()
            )

    def build(self, inputs_shape, memory_shape, initial_state_shape=None):
        gates = 4 * self.units
        context_size = memory_shape[1][-1]
        self.kernel = self.add_matrix(
            "kernel",
            (inputs_shape[-1], gates),
            self.kernel_initializer,
        )
        self.recurrent_kernel = self.add_matrix(
            "recurrent_kernel",
            (self.output_size + context_size, gates),
            never_narrow(self.recurrent_initializer),
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(gates,),
            initializer=forget_bias_initializer(True),
            autocast=False,  # `add_bias` sums its gradient in full precision
        )
        if self.projection_dim is not None:
            self.projection_kernel = self.add_matrix(
                "projection_kernel",
                (self.units, self.projection_dim),
                self.projection_initializer,
            )
        if not self.attention.built:
            self.attention.build(
                (inputs_shape[0], self.output_size), memory_shape
            )

    def call(
        self,
        inputs,
        memory,
        initial_state=None,
        mask=None,
        return_alignments=False,
    ):
        if initial_state is None:
            initial_state = self.initial_state(memory)
        h_BP, c_BH, context_BD = initial_state
        c_BH = ops.cast(c_BH, cell_dtype(self.compute_dtype))
        mask_TB = None if mask is None else tf.transpose(mask)
        feedback_TBR, _, saved = recurrence(
            self.feedback,
            input_gates(self, ops.transpose(inputs, (1, 0, 2)), mask_TB),
            (tf.concat([h_BP, context_BD], axis=1), c_BH),
            as_computed(self, self.recurrent_kernel),
            parameters=self._parameters(memory),
            constants=(self._bias(memory),),
            mask=mask_TB,
            compiled=self.compiled,
        )
        feedback_BTR = ops.transpose(feedback_TBR, (1, 0, 2))
        outputs = feedback_BTR[:, :, : self.output_size]
        contexts = feedback_BTR[:, :, self.output_size :]
        if return_alignments:
            return outputs, contexts, ops.transpose(saved[0], (1, 0, 2))
        return outputs, contexts

    def step(self, inputs, state, memory):
        """Runs one time step, for decoding.

        Args:
            inputs: Tensor `(B, D')`.
            state: `[h (B, P), c (B, H), context (B, D)]`.
            memory: what `attention.prepare` made of the source.

        Returns:
            `(output (B, P), context (B, D), alignment (B, S), state)`.
        """
        h_BP, c_BH, context_BD = state
        hidden, cell, _ = lstm_step.cell_step(
            input_gates(self, inputs),
            tf.concat([h_BP, context_BD], axis=1),
            c_BH,
            as_computed(self, self.recurrent_kernel),
        )
        feedback_BR, (alignment, _) = self.feedback.forward(
            hidden, self._parameters(memory), (self._bias(memory),)
        )
        output = feedback_BR[:, : self.output_size]
        context = feedback_BR[:, self.output_size :]
        return output, context, alignment, [output, cell, context]

    def initial_state(self, memory):
        """Zeros `[h (B, P), c (B, H), context (B, D)]`."""
        batch = ops.shape(memory.values)[0]
        return [
            ops.zeros((batch, self.output_size), self.compute_dtype),
            ops.zeros((batch, self.units), cell_dtype(self.compute_dtype)),
            ops.zeros((batch, memory.values.shape[-1]), self.compute_dtype),
        ]

    def _bias(self, memory):
        return ops.cast(memory.bias, cell_dtype(self.compute_dtype))

    def _parameters(self, memory):
        projection = ()
        if self.projection_dim is not None:
            projection = (as_computed(self, self.projection_kernel),)
        return (
            *projection,
            memory.keys,
            memory.values,
            *self.attention.parameters(),
        )

    def compute_mask(self, inputs, previous_mask=None):
        return [previous_mask, previous_mask]

    def compute_output_shape(
        self, inputs_shape, memory_shape, initial_state_shape=None
    ):
        batch, time = inputs_shape[:2]
        context_size = memory_shape[1][-1]
        return (batch, time, self.output_size), (batch, time, context_size)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "projection_dim": self.projection_dim,
            "attention": keras.saving.serialize_keras_object(self.attention),
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "recurrent_initializer": keras.initializers.serialize(
                self.recurrent_initializer
            ),
            "projection_initializer": keras.initializers.serialize(
                self.projection_initializer
            ),
            "compiled": self.compiled,
        }

    @classmethod
    def from_config(cls, config):
        attention = keras.saving.deserialize_keras_object(config["attention"])
        return cls(**{**config, "attention": attention})
