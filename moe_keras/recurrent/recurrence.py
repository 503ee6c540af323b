"""The LSTM recurrence as one differentiable function, free of layers.

T: time    B: batch    H: hidden units    Z: 4 H gate preactivations
R: size of the feedback, the tensor that a step passes to the next one

A step of the recurrence is

    z_t = gates_t + r_(t-1) K           gates_t = x_t W + b, made by the caller
    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of the four parts of z_t
    c_t = f c_(t-1) + i g
    m_t = o tanh(c_t)
    r_t = feedback(m_t)                 see moe_keras/recurrent/lstm_step.py

Why it is fast: automatic differentiation would add up the gradient of every
weight step by step, in small products. Here the backward loop computes only
what its next step needs, and the gradient of a weight is one product over all
time steps, after the loop. Kernels are transposed before the loop, because a
product of a small batch with `transpose_b=True` takes twice the time. XLA
fuses the elementwise operations where it compiles the loop.
"""

import dataclasses
import functools
from typing import NamedTuple

import tensorflow as tf

from moe_keras.gradients.custom_gradient import custom_gradient
from moe_keras.recurrent.lstm_step import (
    cell_step,
    cell_step_backward,
    weight_gradient,
)


class Problem(NamedTuple):
    """The arguments of the two loops."""

    gates: tf.Tensor  # (T, B, Z) in the dtype of the products
    feedback: tf.Tensor  # (B, R) before the first step
    cell: tf.Tensor  # (B, H) before the first step, float32 or wider
    kernel: tf.Tensor  # (R, Z)
    parameters: tuple  # differentiable tensors of the feedback
    mask: tf.Tensor | None  # (T, B, 1) bool
    constants: tuple  # other tensors of the feedback


class Trace(NamedTuple):
    """Tensors that the forward loop keeps, in the order of time."""

    gates_if: tf.Tensor  # (T, B, 2 H) activations of input and forget gate
    gate_g: tf.Tensor  # (T, B, H) candidate
    gate_o: tf.Tensor  # (T, B, H) output gate
    cell: tf.Tensor  # (T, B, H) cell state before the step
    cell_tanh: tf.Tensor  # (T, B, H) tanh of the cell state after it
    feedback: tf.Tensor  # (T, B, R) passed to the next step
    saved: tuple  # tensors that the feedback asked to keep


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
    """Run an LSTM over all time steps.

    Args:
        feedback: `Direct()`, `Projected()` or an object like them, see
            `moe_keras/recurrent/lstm_step.py`.
        gates: Tensor `(T, B, Z)`, the preactivations from the inputs.
        state: pair of feedback `(B, R)` and cell state `(B, H)` before the
            first step.
        kernel: Tensor `(R, Z)` that makes preactivations of the feedback.
        parameters: tuple of tensors that the feedback has gradients for.
        constants: tuple of further tensors that it needs.
        mask: optional bool tensor `(T, B)`; where it is False a step passes
            its state on unchanged and gives out zeros.
        go_backwards: bool. Whether to begin with the last time step.
        compiled: True, False or `"auto"`. Whether XLA compiles the two loops,
            once for every batch size and length. `"auto"` compiles inside a
            graph that knows both, unless the kernel is bfloat16: XLA's
            products of these are no faster than those of float32.

    Returns:
        `(outputs (T, B, R), (feedback (B, R), cell (B, H)), saved)`: outputs
        in the order of time, the state after the last step, and the tuple of
        the tensors `(T, B, X)` that the feedback saved, which have no
        gradient.

    Raises:
        ValueError: for a gradient of the second order.
    """
    gates = tf.convert_to_tensor(gates)
    if compiled == "auto":
        static = gates.shape[:2].is_fully_defined()
        compiled = static and not tf.executing_eagerly()
        compiled = compiled and kernel.dtype != tf.bfloat16
    compiled = compiled and gates.shape[0] != 0  # XLA slices the first step
    run = _differentiable(
        Loops(feedback, go_backwards),
        compiled,
        None if mask is None else mask[:, :, tf.newaxis],
        constants,
    )
    inputs = (gates, *state, kernel, *parameters)
    outputs, final_feedback, final_cell, *saved = run(
        *map(tf.convert_to_tensor, inputs)
    )
    saved = tuple(map(tf.stop_gradient, saved))
    return outputs, (final_feedback, final_cell), saved


def _differentiable(loops, compiled, mask_TB1, constants):
    """Makes the forward loop a function whose gradient is the backward loop.

    Returns:
        Function `(gates, feedback, cell, kernel, *parameters)`, as `Problem`
        has them, `-> (outputs, feedback, cell, *saved)`.
    """

    @custom_gradient
    def run(*inputs):
        # An eager tape would record the loop's own operations otherwise.
        apart = tuple(map(tf.stop_gradient, inputs))
        problem = Problem(*apart[:4], apart[4:], mask_TB1, constants)
        outputs, final, trace = _run(loops, "forward", compiled, problem)

        @custom_gradient
        def first_order(*tensors):
            d_results = [tf.stop_gradient(x) for x in tensors[len(inputs) :]]
            d_inputs = _run(
                loops, "backward", compiled, problem, trace, *d_results
            )
            return d_inputs, _no_second_order

        def gradient(d_outputs, d_feedback, d_cell, *_):
            return first_order(*inputs, d_outputs, d_feedback, d_cell)

        return (outputs, *final, *trace.saved), gradient

    return run


def _no_second_order(*_):
    raise ValueError(
        "The recurrence of `ProjectedLSTM` and `AttentiveLSTM` has no gradient "
        "of the second order; `keras.layers.LSTM` has one."
    )


def _run(loops, method, compiled, *arguments):
    if compiled or tf.executing_eagerly():
        widths = tuple(x.shape[-1] for x in tf.nest.flatten(arguments[0][:5]))
        function = _as_function(loops, method, bool(compiled), widths)
        return function(*arguments)
    return getattr(loops, method)(*arguments)


@functools.cache
def _as_function(loops, method, compiled, widths):
    """Makes one `tf.function` for all like layers: a shape compiles once.

    Layers of other `widths` get another one, so that TensorFlow generalises
    batch and time but never the sizes of the weights.
    """
    return tf.function(
        lambda *arguments: getattr(loops, method)(*arguments),
        jit_compile=compiled or None,
        reduce_retracing=not compiled,
        autograph=False,
    )


@dataclasses.dataclass(frozen=True)
class Loops:
    """The recurrence and its gradient, as loops over the time steps."""

    feedback: object
    go_backwards: bool

    def forward(self, problem):
        """Runs all steps: `(outputs, (feedback, cell) at the end, Trace)`."""
        cell_dtype, dtype = problem.cell.dtype, problem.kernel.dtype
        saved_dtypes = self.feedback.saved_dtypes(problem.parameters)

        def step(index, r_BR, c_BH):
            hidden, new_c, kept = cell_step(
                problem.gates[index], r_BR, c_BH, problem.kernel
            )
            new_r, saved = self.feedback.forward(
                hidden, problem.parameters, problem.constants
            )
            if problem.mask is not None:
                real_B1 = problem.mask[index]
                new_c = tf.where(real_B1, new_c, c_BH)
                new_r = tf.where(real_B1, new_r, r_BR)
            return (new_r, new_c), (*kept, new_r, *saved)

        state, kept = _loop(
            step,
            (problem.feedback, problem.cell),
            [*5 * [cell_dtype], dtype, *saved_dtypes],
            problem.gates,
            self.go_backwards,
        )
        trace = Trace(*kept[:6], tuple(kept[6:]))
        return _zero_where_masked(trace.feedback, problem.mask), state, trace

    def backward(self, problem, trace, d_outputs, d_feedback, d_cell):
        """Computes the gradients of the differentiable parts of `problem`.

        The loop goes back through the steps and keeps the gradients of the
        preactivations; after it, each weight gradient is one product.
        """
        d_outputs = _zero_where_masked(d_outputs, problem.mask)
        kernel_ZR = tf.transpose(problem.kernel)
        transposed = self.feedback.transpose(problem.parameters)
        dtype = problem.kernel.dtype

        def step(index, dr_BR, dc_BH):
            if problem.mask is not None:
                real_B1 = problem.mask[index]
                skip_dr, skip_dc = dr_BR, dc_BH
                dr_BR = tf.where(real_B1, dr_BR, tf.zeros_like(dr_BR))
                dc_BH = tf.where(real_B1, dc_BH, tf.zeros_like(dc_BH))
            dm_BH, cotangents = self.feedback.backward(
                dr_BR + d_outputs[index],
                tuple(x[index] for x in trace.saved),
                transposed,
                problem.constants,
            )
            kept = [x[index] for x in trace[:5]]
            dz_BZ, dc_BH = cell_step_backward(
                tf.cast(dm_BH, dc_BH.dtype), dc_BH, kept
            )
            dz_BZ = tf.cast(dz_BZ, dtype)
            dr_BR = tf.matmul(dz_BZ, kernel_ZR)
            if problem.mask is not None:
                dr_BR = tf.where(real_B1, dr_BR, skip_dr)
                dc_BH = tf.where(real_B1, dc_BH, skip_dc)
            return (dr_BR, dc_BH), (dz_BZ, *cotangents)

        (dr_BR, dc_BH), (dz_TBZ, *cotangents) = _loop(
            step,
            (d_feedback, d_cell),
            [dtype, *self.feedback.cotangent_dtypes(problem.parameters)],
            problem.gates,
            not self.go_backwards,
        )
        before = self._feedback_before(problem.feedback, trace.feedback)
        return (
            dz_TBZ,
            dr_BR,
            dc_BH,
            weight_gradient(before, dz_TBZ),
            *self.feedback.gradients(
                tf.cast(trace.gate_o * trace.cell_tanh, dtype),
                trace.feedback,
                trace.saved,
                tuple(cotangents),
                problem.parameters,
                problem.constants,
            ),
        )

    def _feedback_before(self, first_BR, feedback_TBR):
        """The feedback that each step received from the previous step."""
        first = first_BR[tf.newaxis]
        if self.go_backwards:
            return tf.concat([feedback_TBR, first], axis=0)[1:]
        return tf.concat([first, feedback_TBR], axis=0)[:-1]


def _loop(step, state, dtypes, over, reverse):
    """Loops over the first axis of `over`, forward or in reverse.

    Args:
        step: `(index, *state) -> (new state, values to keep)`. Values are
            tensors `(B, X)`.
        state: tuple of tensors before the first step.
        dtypes: list of the dtypes of the values that are kept.
        over: Tensor `(T, B, ...)`.
        reverse: bool.

    Returns:
        The state after the last step, and the list of the values, stacked
        along a new first axis in the order of the index.
    """
    count = tf.shape(over)[0]
    shapes = []  # of the values, known once `body` is traced

    def body(number, state, arrays):
        index = count - 1 - number if reverse else number
        new_state, values = step(index, *state)
        for new, old in zip(new_state, state, strict=True):
            new.set_shape(old.shape)
        shapes[:] = [value.shape for value in values]
        arrays = [
            array.write(index, value)
            for array, value in zip(arrays, values, strict=True)
        ]
        return number + 1, new_state, arrays

    arrays = [tf.TensorArray(x, count, infer_shape=False) for x in dtypes]
    _, state, arrays = tf.while_loop(
        lambda number, *_: number < count,
        body,
        (0, state, arrays),
        parallel_iterations=1,
    )
    # `array.stack()` would fail for zero steps: it cannot know the shape.
    batch = tf.shape(over)[1]
    stacked = [
        tf.raw_ops.TensorListStack(
            input_handle=array.flow,
            element_shape=[batch, -1 if shape[-1] is None else shape[-1]],
            element_dtype=array.dtype,
        )
        for array, shape in zip(arrays, shapes, strict=True)
    ]
    for x, shape in zip(stacked, shapes, strict=True):
        x.set_shape([over.shape[0], *shape])
    return state, stacked


def _zero_where_masked(x_TBR, mask_TB1):
    if mask_TB1 is None:
        return x_TBR
    return tf.where(mask_TB1, x_TBR, tf.zeros_like(x_TBR))
