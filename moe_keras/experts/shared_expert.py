"""An expert that every token visits, beside those that its gate chooses.

N: tokens    D: depth    E: experts of the stack, most often 1
"""

import keras
import tensorflow as tf

from moe_keras.checks import FixedArguments
from moe_keras.experts.expert_list import build_as_called
from moe_keras.experts.stacked import StackedExperts
from moe_keras.placement.placement import Placement

SHARED_GATES = (None, "sigmoid")


class SharedExpert(FixedArguments, keras.layers.Layer):
    """Runs an expert on all tokens: `E(x)`, or `sigmoid(x w) E(x)`.

    DeepSeekMoE (arXiv:2401.06066) has shared experts without a gate,
    Qwen1.5-MoE one with a gate of its own. Its weights are whole on every
    replica, also where a layout splits those of the other experts.

    Args:
        expert: Keras layer `(N, D) -> (N, D')`, or stacked experts such as
            `GatedFeedForwardExperts(1, hidden_dim)`. Of a stack each expert
            gets all tokens, and their results are added up.
        gate: "sigmoid" for a gate with a kernel `gate_kernel (D, 1)`; None for
            a gate of 1.

    Call arguments:
        inputs: Tensor `(N, D)`.
        mask: Optional boolean tensor `(N,)`. Where it is False, zeros go in
            and come out.

    Returns:
        Tensor `(N, D')`.

    Raises:
        ValueError: If `expert` is no layer, or `gate` no such name.

    Example:

    >>> layer = SharedExpert(keras.layers.Dense(4), gate="sigmoid")
    >>> tuple(layer(keras.ops.ones((3, 2))).shape)
    (3, 4)
    """

    def __init__(self, expert, gate=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(expert, keras.layers.Layer):
            raise ValueError(
                "`shared_expert` must be a Keras layer that maps tokens (N, D) "
                "to (N, D'), or stacked experts such as "
                "`GatedFeedForwardExperts(1, hidden_dim)`. "
                f"Received: shared_expert={expert!r}"
            )
        if gate not in SHARED_GATES:
            raise ValueError(
                "`shared_gate` must be 'sigmoid', or None for no gate. "
                f"Received: shared_gate={gate!r}"
            )
        self.expert = expert
        self.gate = gate
        self.supports_masking = True
        self.supports_jit = expert.supports_jit

    @property
    def is_stacked(self):
        """Whether the expert takes `(E, C, D)`."""
        return isinstance(self.expert, StackedExperts)

    def build(self, input_shape):
        depth = input_shape[-1]
        with Placement().scope():
            if not self.is_stacked:
                tokens = keras.KerasTensor((None, depth), self.compute_dtype)
                build_as_called(self.expert, tokens)
            elif not self.expert.built:
                self.expert.build((self.expert.num_experts, None, depth))
        if self.gate == "sigmoid":
            wide = self.compute_dtype == "float64"
            self.gate_kernel = self.add_weight(
                name="gate_kernel",
                shape=(depth, 1),
                initializer="glorot_uniform",
                # As the mathematics of all gates.
                dtype="float64" if wide else "float32",
                autocast=False,
            )

    def call(self, inputs, mask=None):
        if mask is not None:
            inputs = tf.where(mask[:, None], inputs, 0)
        outputs = tf.cast(self._run(inputs), self.compute_dtype)
        if self.gate == "sigmoid":
            tokens = tf.cast(inputs, self.gate_kernel.dtype)
            gate_N1 = tf.sigmoid(tf.matmul(tokens, self.gate_kernel))
            outputs *= tf.cast(gate_N1, outputs.dtype)
        if mask is not None:
            outputs = tf.where(mask[:, None], outputs, 0)
        return outputs

    def _run(self, inputs_ND):
        if not self.is_stacked:
            return self.expert(inputs_ND)
        shape = [self.expert.num_experts, *tf.unstack(tf.shape(inputs_ND))]
        inputs_END = tf.broadcast_to(inputs_ND, shape)
        inputs_END.set_shape((self.expert.num_experts, *inputs_ND.shape))
        return tf.reduce_sum(self.expert(inputs_END), axis=0)

    def compute_mask(self, inputs, previous_mask):
        return None

    def output_depth(self, depth):
        """Returns D', of the built layer, for tokens of depth D."""
        if self.is_stacked:
            shape = (self.expert.num_experts, None, depth)
            return self.expert.compute_output_shape(shape)[-1]
        tokens = keras.KerasTensor((None, depth), self.compute_dtype)
        return self.expert.compute_output_spec(tokens).shape[-1]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.output_depth(input_shape[-1]))
