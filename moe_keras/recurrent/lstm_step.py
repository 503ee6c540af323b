"""One step of an LSTM and its gradient, as `recurrence.py` needs them.

T: time    B: batch    H: hidden units    Z: 4 H gate preactivations
R: size of the feedback, the tensor that a step passes on    P: projection

A *feedback* is a small object without state that turns the hidden value
`o tanh(c)` into the tensor for the next step. `Direct` passes on the hidden
value itself, `Projected` its projection (arXiv:1701.06538, appendix C); that
of a decoder adds the context that its attention reads. Its methods:

    forward(hidden_BH, parameters, constants) -> (feedback_BR, saved)
    backward(d_feedback_BR, saved, transposed, constants)
        -> (d_hidden_BH, cotangents)
    gradients(hidden_TBH, feedback_TBR, saved, cotangents, parameters,
        constants) -> one gradient for each parameter
    transpose(parameters) -> transposed: the same with kernels transposed
    saved_dtypes(parameters), cotangent_dtypes(parameters) -> lists of dtypes

`saved` and `cotangents` are tuples of tensors `(B, X)` in one step;
`gradients` gets them stacked, `(T, B, X)`.
"""

import dataclasses

import tensorflow as tf


def cell_step(gates, feedback, cell, kernel):
    """Computes one LSTM step from `(B, Z)`, `(B, R)` and `(B, H)`.

    The product has the dtype of `kernel`; gates and cell state have the dtype
    of `cell`, which is float32 or wider.

    Returns:
        `(hidden, new_cell, kept)`: hidden value `(B, H)` in the dtype of
        `kernel`, cell state `(B, H)`, and the first five tensors of `Trace`.
    """
    z_BZ = tf.cast(gates + tf.matmul(feedback, kernel), cell.dtype)
    units = cell.shape[-1]
    z_if, z_g, z_o = tf.split(z_BZ, [2 * units, units, units], axis=1)
    gates_if, gate_g, gate_o = tf.sigmoid(z_if), tf.tanh(z_g), tf.sigmoid(z_o)
    gate_i, gate_f = tf.split(gates_if, 2, axis=1)
    new_cell = gate_f * cell + gate_i * gate_g
    cell_tanh = tf.tanh(new_cell)
    hidden = tf.cast(gate_o * cell_tanh, kernel.dtype)
    return hidden, new_cell, (gates_if, gate_g, gate_o, cell, cell_tanh)


def cell_step_backward(dm_BH, dc_BH, kept):
    """Gradients of `cell_step`: `(d_preactivations (B, Z), d_cell (B, H))`."""
    gates_if, gate_g, gate_o, cell, cell_tanh = kept
    gate_i, gate_f = tf.split(gates_if, 2, axis=1)
    dc_BH += tf.raw_ops.TanhGrad(y=cell_tanh, dy=dm_BH * gate_o)
    d_if = tf.concat([dc_BH * gate_g, dc_BH * cell], axis=1)
    dz_BZ = tf.concat(
        [
            tf.raw_ops.SigmoidGrad(y=gates_if, dy=d_if),
            tf.raw_ops.TanhGrad(y=gate_g, dy=dc_BH * gate_i),
            tf.raw_ops.SigmoidGrad(y=gate_o, dy=dm_BH * cell_tanh),
        ],
        axis=1,
    )
    return dz_BZ, dc_BH * gate_f


@dataclasses.dataclass(frozen=True)
class Direct:
    """The feedback of the plain LSTM: the hidden value itself."""

    num_parameters = 0

    def forward(self, hidden, parameters, constants):
        return hidden, ()

    def backward(self, d_feedback, saved, transposed, constants):
        return d_feedback, ()

    def gradients(
        self, hidden, feedback, saved, cotangents, parameters, constants
    ):
        return ()

    def transpose(self, parameters):
        return ()

    def saved_dtypes(self, parameters):
        return []

    def cotangent_dtypes(self, parameters):
        return []


@dataclasses.dataclass(frozen=True)
class Projected:
    """The feedback of an LSTM with an output projection: `hidden @ P`."""

    num_parameters = 1

    def forward(self, hidden, parameters, constants):
        (kernel_HP,) = parameters
        return tf.matmul(hidden, kernel_HP), ()

    def backward(self, d_feedback, saved, transposed, constants):
        (kernel_PH,) = transposed
        return tf.matmul(d_feedback, kernel_PH), (d_feedback,)

    def gradients(
        self, hidden, feedback, saved, cotangents, parameters, constants
    ):
        (d_feedback_TBP,) = cotangents
        return (weight_gradient(hidden, d_feedback_TBP),)

    def transpose(self, parameters):
        return (tf.transpose(parameters[0]),)

    def saved_dtypes(self, parameters):
        return []

    def cotangent_dtypes(self, parameters):
        return [parameters[0].dtype]


def weight_gradient(inputs_TBX, d_outputs_TBY):
    """Gradient of a kernel `(X, Y)`: one product over all time steps."""
    return tf.matmul(
        _flatten_steps(inputs_TBX),
        _flatten_steps(d_outputs_TBY),
        transpose_a=True,
    )


def _flatten_steps(x_TBX):
    """`(T, B, X)` to `(T * B, X)`, which may be empty."""
    time, batch = tf.unstack(tf.shape(x_TBX)[:2])
    return tf.reshape(x_TBX, [time * batch, x_TBX.shape[-1]])
