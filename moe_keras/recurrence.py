"""The LSTM recurrence as one differentiable function, free of layers.

T: time    B: batch    H: hidden units    Z: 4 H gate preactivations
R: size of the feedback, what a step hands to the next one

A step of the recurrence is

    z_t = gates_t + r_(t-1) K           gates_t = x_t W + b, made by the caller
    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of the four parts of z_t
    c_t = f c_(t-1) + i g
    m_t = o tanh(c_t)
    r_t = feedback(m_t)

A *feedback* is a small object without state. `Direct` hands on `m_t` itself,
`Projected` hands on `m_t P` (arXiv:1701.06538, appendix C), and a decoder adds
the context that its attention reads. Every feedback has

    forward(hidden, parameters, constants) -> (feedback, saved)
    backward(d_feedback, feedback, saved, parameters, constants)
        -> (d_hidden, cotangents)
    parameter_gradients(hidden_TBH, feedback_TBR, saved, cotangents,
        parameters, constants) -> one gradient for each parameter

Automatic differentiation would add up each weight's gradient step by step, in
small products. Here the backward loop only finds what the next step of the
loop needs; the gradient of a weight is one product over all time steps after
it. That is why a feedback first returns `cotangents` and is asked for the
gradients of its parameters once, at the end.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Direct:
    """The feedback of the plain LSTM: the hidden value itself."""

    num_parameters = 0

    def forward(self, hidden, parameters, constants):
        return hidden, ()

    def saved_dtypes(self, parameters):
        return []

    def cotangent_dtypes(self, parameters):
        return []

    def backward(self, d_feedback, feedback, saved, parameters, constants):
        return d_feedback, ()

    def parameter_gradients(
        self, hidden, feedback, saved, cotangents, parameters, constants
    ):
        return ()


@dataclasses.dataclass(frozen=True)
class Projected:
    """The feedback of an LSTM with an output projection: `hidden @ P`."""

    num_parameters = 1

    def forward(self, hidden, parameters, constants):
        (kernel_HP,) = parameters
        return tf.matmul(hidden, kernel_HP), ()

    def saved_dtypes(self, parameters):
        return []

    def cotangent_dtypes(self, parameters):
        return [parameters[0].dtype]

    def backward(self, d_feedback, feedback, saved, parameters, constants):
        (kernel_HP,) = parameters
        d_hidden = tf.matmul(d_feedback, kernel_HP, transpose_b=True)
        return d_hidden, (d_feedback,)

    def parameter_gradients(
        self, hidden, feedback, saved, cotangents, parameters, constants
    ):
        return (weight_gradient(hidden, cotangents[0]),)


def weight_gradient(inputs_TBX, d_outputs_TBY):
    """Gradient of a kernel `(X, Y)`: one product over all time steps."""
    return tf.matmul(
        flatten_steps(inputs_TBX),
        flatten_steps(d_outputs_TBY),
        transpose_a=True,
    )


def flatten_steps(x_TBX):
    """`(T, B, X)` to `(T * B, X)`, for any `T` and `B`, zero included."""
    shape = tf.shape(x_TBX)
    return tf.reshape(x_TBX, [shape[0] * shape[1], x_TBX.shape[-1]])


class Trace(NamedTuple):
    """What the forward loop keeps of all its steps, stacked along time."""

    gates_if: tf.Tensor  # (T, B, 2 H) activations of input and forget gate
    gate_g: tf.Tensor  # (T, B, H) candidate
    gate_o: tf.Tensor  # (T, B, H) output gate
    cell_before: tf.Tensor  # (T, B, H) cell state that the step found
    cell_tanh: tf.Tensor  # (T, B, H) tanh of the cell state it made
    feedback_before: tf.Tensor  # (T, B, R) feedback that the step found
    feedback: tf.Tensor  # (T, B, R) feedback that it made, masked or not
    saved: tuple  # whatever the feedback asked to keep, (T, B, X) each


class Problem(NamedTuple):
    """The arguments of the two loops."""

    gates: tf.Tensor  # (T, B, Z) in the dtype of the products
    feedback: tf.Tensor  # (B, R) before the first step
    cell: tf.Tensor  # (B, H) before the first step, float32 or wider
    kernel: tf.Tensor  # (R, Z)
    mask: tf.Tensor | None  # (T, B, 1) bool
    parameters: tuple  # differentiable tensors of the feedback
    constants: tuple  # other tensors of the feedback


def recurrence(
    feedback,
    gates,
    state,
    kernel,
    parameters=(),
    constants=(),
    mask=None,
    go_backwards=False,
    compiled="auto",
):
    """Runs an LSTM over all time steps.

    Args:
        feedback: `Direct()`, `Projected()` or an object like them.
        gates: Tensor `(T, B, Z)`, the inputs' share of the preactivations.
        state: pair of feedback `(B, R)` and cell state `(B, H)` before the
            first step.
        kernel: Tensor `(R, Z)`, the feedback's share of the preactivations.
        parameters: tuple of tensors that the feedback has gradients for.
        constants: tuple of tensors that it needs besides.
        mask: optional bool tensor `(T, B)`; where it is False a step passes
            its state on unchanged and gives out zeros.
        go_backwards: bool. Begins with the last time step.
        compiled: True, False or `"auto"`. Whether XLA compiles the two loops;
            `"auto"` does so inside of a graph with static shapes.

    Returns:
        `(outputs (T, B, R), (feedback (B, R), cell (B, H)), saved)`: outputs
        in the order of time, the state after the last step, and the tuple of
        the tensors `(T, B, X)` that the feedback saved, which have no
        gradient. There is no gradient of the second order.
    """
    mask_TB1 = None if mask is None else mask[:, :, tf.newaxis]
    loops = Loops(feedback, go_backwards)
    problem = Problem(
        *map(tf.convert_to_tensor, (gates, *state, kernel)),
        mask_TB1,
        tuple(map(tf.convert_to_tensor, parameters)),
        tuple(constants),
    )

    @tf.custom_gradient
    def differentiable(gates, feedback_BR, cell_BH, kernel, *parameters):
        here = Problem(
            *map(tf.stop_gradient, (gates, feedback_BR, cell_BH, kernel)),
            mask_TB1,
            tuple(map(tf.stop_gradient, parameters)),
            problem.constants,
        )
        outputs, final, trace = loops.forward(here)

        def gradient(d_outputs, d_feedback, d_cell, *_):
            return loops.backward(here, trace, d_outputs, d_feedback, d_cell)

        return (outputs, *final, *trace.saved), gradient

    outputs, final_feedback, final_cell, *saved = differentiable(
        *problem[:4], *problem.parameters
    )
    saved = tuple(map(tf.stop_gradient, saved))
    return outputs, (final_feedback, final_cell), saved


class Loops:
    def __init__(self, feedback, go_backwards):
        self.feedback = feedback
        self.go_backwards = go_backwards

    def forward(self, problem):
        time = tf.shape(problem.gates)[0]

        def body(step, r_BR, c_BH, arrays):
            index = time - 1 - step if self.go_backwards else step
            hidden, new_c, kept = cell_step(
                problem.gates[index], r_BR, c_BH, problem.kernel
            )
            new_r, saved = self.feedback.forward(
                hidden, problem.parameters, problem.constants
            )
            values = (*kept, r_BR, new_r, *saved)
            shapes[:] = [value.shape for value in values]
            arrays = [
                a.write(index, v) for a, v in zip(arrays, values, strict=True)
            ]
            if problem.mask is not None:
                real_B1 = problem.mask[index]
                new_c = tf.where(real_B1, new_c, c_BH)
                new_r = tf.where(real_B1, new_r, r_BR)
            return step + 1, new_r, new_c, arrays

        shapes = []
        gate = problem.cell.dtype
        product = problem.kernel.dtype
        saved_dtypes = self.feedback.saved_dtypes(problem.parameters)
        arrays = [
            tf.TensorArray(dtype, time, infer_shape=False)
            for dtype in 5 * [gate] + 2 * [product] + saved_dtypes
        ]
        _, r_BR, c_BH, arrays = tf.while_loop(
            lambda step, *_: step < time,
            body,
            (0, problem.feedback, problem.cell, arrays),
            parallel_iterations=1,
            maximum_iterations=time,
        )
        stacked = [array.stack() for array in arrays]
        for x, shape in zip(stacked, shapes, strict=True):
            x.set_shape([None, *shape])
        trace = Trace(*stacked[:7], tuple(stacked[7:]))
        outputs = trace.feedback
        if problem.mask is not None:
            outputs = tf.where(problem.mask, outputs, tf.zeros_like(outputs))
        outputs.set_shape([*problem.gates.shape[:2], problem.kernel.shape[0]])
        return outputs, (r_BR, c_BH), trace

    def backward(self, problem, trace, d_outputs, d_feedback, d_cell):
        time = tf.shape(problem.gates)[0]
        if problem.mask is not None:
            d_outputs = tf.where(
                problem.mask, d_outputs, tf.zeros_like(d_outputs)
            )

        def body(step, dr_BR, dc_BH, arrays):
            index = step if self.go_backwards else time - 1 - step
            skipped = None
            if problem.mask is not None:
                real_B1 = problem.mask[index]
                skipped = (
                    tf.where(real_B1, tf.zeros_like(dr_BR), dr_BR),
                    tf.where(real_B1, tf.zeros_like(dc_BH), dc_BH),
                )
                dr_BR, dc_BH = dr_BR - skipped[0], dc_BH - skipped[1]
            dr_BR += d_outputs[index]
            dm_BH, cotangents = self.feedback.backward(
                dr_BR,
                trace.feedback[index],
                tuple(x[index] for x in trace.saved),
                problem.parameters,
                problem.constants,
            )
            dz_BZ, dc_BH = cell_step_backward(
                tf.cast(dm_BH, dc_BH.dtype),
                dc_BH,
                [x[index] for x in trace[:5]],
            )
            dz_BZ = tf.cast(dz_BZ, problem.kernel.dtype)
            dz_BZ.set_shape([d_feedback.shape[0], problem.gates.shape[-1]])
            dc_BH.set_shape(d_cell.shape)
            dr_BR = tf.matmul(dz_BZ, problem.kernel, transpose_b=True)
            if skipped is not None:
                dr_BR, dc_BH = dr_BR + skipped[0], dc_BH + skipped[1]
            values = (dz_BZ, *cotangents)
            shapes[:] = [value.shape for value in values]
            arrays = [
                a.write(index, v) for a, v in zip(arrays, values, strict=True)
            ]
            return step + 1, dr_BR, dc_BH, arrays

        shapes = []
        dtypes = [
            problem.kernel.dtype,
            *self.feedback.cotangent_dtypes(problem.parameters),
        ]
        arrays = [
            tf.TensorArray(dtype, time, infer_shape=False) for dtype in dtypes
        ]
        _, dr_BR, dc_BH, arrays = tf.while_loop(
            lambda step, *_: step < time,
            body,
            (0, d_feedback, d_cell, arrays),
            parallel_iterations=1,
            maximum_iterations=time,
        )
        dz_TBZ, *cotangents = [array.stack() for array in arrays]
        dz_TBZ.set_shape(problem.gates.shape)
        for x, shape in zip(cotangents, shapes[1:], strict=True):
            x.set_shape([None, *shape])
        hidden = tf.cast(trace.gate_o * trace.cell_tanh, dz_TBZ.dtype)
        return (
            dz_TBZ,
            dr_BR,
            dc_BH,
            weight_gradient(trace.feedback_before, dz_TBZ),
            *self.feedback.parameter_gradients(
                hidden,
                trace.feedback,
                trace.saved,
                tuple(cotangents),
                problem.parameters,
                problem.constants,
            ),
        )


def cell_step(gates, feedback, cell, kernel):
    """One LSTM step: `(B, Z)`, `(B, R)`, `(B, H)` to the hidden value.

    The product is done in the dtype of `kernel`, gates and cell state in
    the dtype of `cell`, which is float32 or wider.

    Returns:
        `(hidden, new_cell, kept)`: hidden value `(B, H)` in the dtype of
        `kernel`, cell state `(B, H)`, and what `Trace` lists first.
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
