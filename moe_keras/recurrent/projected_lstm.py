"""The LSTM of the paper's models, with an output projection.

B: batch    T: time    D: depth of the input    H: hidden units
P: size of the output, H without a projection    Z: 4 H preactivations
"""

import keras
import tensorflow as tf
from keras import ops

from moe_keras.checks import check_sizes, given
from moe_keras.gradients.bias import add_bias
from moe_keras.packed.layer import PackedMatrices
from moe_keras.recurrent import lstm_step
from moe_keras.recurrent.recurrence import recurrence

# Kernels that can be kept in few bits, and all weights as they are made.
KERNELS_OF_LSTM = {"kernel": 0, "recurrent_kernel": 0, "projection_kernel": 0}
WEIGHTS_OF_LSTM = ("kernel", "recurrent_kernel", "bias", "projection_kernel")


@keras.saving.register_keras_serializable(package="moe_keras")
class ProjectedLSTM(PackedMatrices, keras.layers.Layer):
    """LSTM whose output is a projection of its hidden units.

    With gates in the order input, forget, candidate, output,

        i, f, g, o = x_t W + h_(t-1) U + b
        c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g)
        h_t = (sigmoid(o) tanh(c_t)) P

    (arXiv:1701.06538, appendices C and E). Without a projection it is the
    LSTM of `keras.layers.LSTM`, weight by weight, and works in
    `keras.layers.Bidirectional`. It is the faster of the two, see
    `recurrence.py`. There is no gradient of the second order.

    Args:
        units: int. Hidden units `H`.
        projection_dim: int or None. Size `P` of output and recurrent state;
            None leaves the projection out.
        return_sequences: bool. Whether to return the output of every step
            instead of the last one.
        return_state: bool. Whether to return the final state as well.
        go_backwards: bool. Runs from the last time step to the first and
            returns outputs in that order, as Keras does.
        unit_forget_bias: bool. The bias of the forget gate begins at 1.
        kernel_initializer, recurrent_initializer, projection_initializer:
            Initializers of the three kernels.
        compiled: True, False or `"auto"`. Whether XLA compiles the recurrence
            (and nothing else). `"auto"` does where batch and time are static
            and products are not in bfloat16.
        **kwargs: `quantization`, see `moe_keras.packed.layer.FewBits`, and
            arguments of every Keras layer.

    Call arguments:
        sequence: Tensor `(B, T, D)`; batch and time may be unknown.
        initial_state: optional pair of `h (B, P)` and `c (B, H)`; zeros.
        mask: optional bool tensor `(B, T)`. A step where it is False leaves
            the state as it is and gives zeros.

    Returns:
        `(B, T, P)` with `return_sequences`, else `(B, P)`; with
        `return_state` a list of it and the final `h (B, P)` and `c (B, H)`.

    Example:

    >>> lstm = ProjectedLSTM(8, projection_dim=3, return_sequences=True)
    >>> tuple(lstm(keras.random.normal((2, 5, 4))).shape)
    (2, 5, 3)
    """

    # `keras.layers.Bidirectional` asks for both.
    stateful = False
    states = None
    matrices = KERNELS_OF_LSTM
    made = WEIGHTS_OF_LSTM

    def __init__(
        self,
        units,
        projection_dim=None,
        return_sequences=False,
        return_state=False,
        go_backwards=False,
        unit_forget_bias=True,
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
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.unit_forget_bias = unit_forget_bias
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
        self.state_size = [self.output_size, units]
        self.projection_kernel = None
        if projection_dim is None:
            self.feedback = lstm_step.Direct()
        else:
            self.feedback = lstm_step.Projected()

    def build(self, sequence_shape, initial_state_shape=None):
        gates = 4 * self.units
        self.kernel = self.add_matrix(
            "kernel",
            (sequence_shape[-1], gates),
            self.kernel_initializer,
        )
        self.recurrent_kernel = self.add_matrix(
            "recurrent_kernel",
            (self.output_size, gates),
            never_narrow(self.recurrent_initializer),
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(gates,),
            initializer=forget_bias_initializer(self.unit_forget_bias),
            autocast=False,  # `add_bias` sums its gradient in full precision
        )
        if self.projection_dim is not None:
            self.projection_kernel = self.add_matrix(
                "projection_kernel",
                (self.units, self.projection_dim),
                self.projection_initializer,
            )

    def call(self, sequence, initial_state=None, mask=None, training=False):
        mask_TB = None if mask is None else ops.transpose(mask)
        outputs_TBP, state, _ = recurrence(
            self.feedback,
            input_gates(self, ops.transpose(sequence, (1, 0, 2)), mask_TB),
            self._state(sequence, initial_state),
            as_computed(self, self.recurrent_kernel),
            parameters=self._parameters(),
            mask=mask_TB,
            go_backwards=self.go_backwards,
            compiled=self.compiled,
        )
        if self.return_sequences:
            if self.go_backwards:
                outputs_TBP = tf.reverse(outputs_TBP, axis=[0])
            output = ops.transpose(outputs_TBP, (1, 0, 2))
        else:
            output = state[0]
        return (output, *state) if self.return_state else output

    def step(self, inputs, state):
        """Runs one time step, for decoding.

        Args:
            inputs: Tensor `(B, D)`.
            state: pair of `h (B, P)` and `c (B, H)`.

        Returns:
            `(output (B, P), [h, c])`, where `output` is `h`.
        """
        hidden, cell, _ = lstm_step.cell_step(
            input_gates(self, inputs),
            *state,
            as_computed(self, self.recurrent_kernel),
        )
        output, _ = self.feedback.forward(hidden, self._parameters(), ())
        return output, [output, cell]

    def initial_state(self, batch_size):
        """Zeros `[h (B, P), c (B, H)]`."""
        return zero_state(batch_size, self.state_size, self.compute_dtype)

    def _state(self, sequence, initial_state):
        if initial_state is None:
            return self.initial_state(ops.shape(sequence)[0])
        h_BP, c_BH = initial_state
        return h_BP, ops.cast(c_BH, cell_dtype(self.compute_dtype))

    def _parameters(self):
        if self.projection_dim is None:
            return ()
        return (as_computed(self, self.projection_kernel),)

    def compute_mask(self, sequence, mask=None):
        output_mask = mask if self.return_sequences else None
        if self.return_state:
            return [output_mask, None, None]
        return output_mask

    def compute_output_shape(self, sequence_shape, initial_state_shape=None):
        batch, time = sequence_shape[:2]
        output_shape = (batch, self.output_size)
        if self.return_sequences:
            output_shape = (batch, time, self.output_size)
        if not self.return_state:
            return output_shape
        return output_shape, (batch, self.output_size), (batch, self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "projection_dim": self.projection_dim,
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "unit_forget_bias": self.unit_forget_bias,
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


def as_computed(layer, weight):
    """The tensor of a weight in the compute dtype, outside of calls too."""
    return tf.cast(tf.convert_to_tensor(weight), layer.compute_dtype)


def input_gates(layer, inputs, mask=None):
    """Multiply the inputs of all time steps at once.

    Args:
        layer: Layer with `kernel (D, Z)` and `bias (Z,)`.
        inputs: Tensor `(..., D)`.
        mask: Optional bool tensor `(...)`. Where it is False inputs are taken
            as zeros: even NaN there is in no gradient.

    Returns:
        Preactivations `(..., Z)`.
    """
    inputs = ops.cast(inputs, layer.compute_dtype)
    if mask is not None:
        inputs = tf.where(mask[..., None], inputs, tf.zeros_like(inputs))
    gates = ops.matmul(inputs, as_computed(layer, layer.kernel))
    return add_bias(gates, tf.convert_to_tensor(layer.bias))


def cell_dtype(compute_dtype):
    """Cell state and gates are float32 where products have half precision."""
    return "float64" if compute_dtype == "float64" else "float32"


def zero_state(batch_size, sizes, compute_dtype):
    """Zeros `[feedback, cell]` of the `sizes`, each `(B, size)`."""
    feedback_size, units = sizes
    return [
        ops.zeros((batch_size, feedback_size), compute_dtype),
        ops.zeros((batch_size, units), cell_dtype(compute_dtype)),
    ]


def forget_bias_initializer(unit_forget_bias):
    """Zeros, but ones for the forget gate, the second quarter."""

    def initializer(shape, dtype=None):
        ones = ops.full((shape[0] // 4,), float(unit_forget_bias), dtype)
        return ops.pad(ones, [[shape[0] // 4, shape[0] // 2]])

    return initializer


def never_narrow(initializer):
    """The same in float32 at least: orthogonal has no bfloat16."""

    def initialize(shape, dtype=None):
        wide = "float64" if dtype == "float64" else "float32"
        return ops.cast(initializer(shape, dtype=wide), dtype or wide)

    return initialize
