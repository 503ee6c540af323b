"""The block that every LSTM and MoE layer of the translator stands in."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="translation")
class Residual(keras.layers.Layer):
    """`x + dropout(activation(layer(x)))` (paper, appendix E).

    Args:
        layer: Keras layer whose output is as wide as its input; its call
            takes `mask` and `training`.
        dropout: float. Rate of dropout on the layer's output.
        activation: Name of a Keras activation or None. Stands between layer
            and dropout; the paper's MoE layers have a sigmoid there.

    Call arguments:
        inputs: Tensor of shape `(B, T, D)`.
        context: Tensor `(B, T, D')` or None. Joins the layer's input and
            takes no part in the residual sum.
        mask: Boolean tensor `(B, T)` or None. False at padding.

    Returns:
        Tensor of shape `(B, T, D)`.

    Example:

    >>> import numpy as np
    >>> from moe_keras import ProjectedLSTM
    >>> block = Residual(ProjectedLSTM(4, return_sequences=True), dropout=0.1)
    >>> tuple(block(np.ones((2, 3, 4), "float32")).shape)
    (2, 3, 4)
    """

    def __init__(self, layer, dropout=0.0, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer
        self.supports_masking = True
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.activation = keras.activations.get(activation)

    def build(self, inputs_shape, context_shape=None):
        width = inputs_shape[-1]
        if context_shape is not None:
            width += context_shape[-1]
        self.layer.build((*inputs_shape[:-1], width))

    def call(self, inputs, context=None, mask=None, training=False):
        joined = _join(inputs, context)
        outputs = self.layer(joined, mask=mask, training=training)
        return inputs + self.finish(outputs, training)

    def finish(self, outputs, training=False):
        """Applies activation and dropout to the output of the layer."""
        return self.dropout(self.activation(outputs), training=training)

    def step(self, inputs, state, context=None):
        """One decoding step of a recurrent layer.

        Args:
            inputs: Tensor `(N, D)`.
            state: The layer's state.
            context: Tensor `(N, D')` or None.

        Returns:
            Output `(N, D)` and the new state.
        """
        with keras.name_scope(self.name):  # for profiles
            outputs, state = self.layer.step(_join(inputs, context), state)
        return inputs + self.finish(outputs), state

    def compute_output_shape(self, inputs_shape, context_shape=None):
        return inputs_shape

    def get_config(self):
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "dropout": self.dropout.rate,
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


def _join(inputs, context):
    if context is None:
        return inputs
    return ops.concatenate([inputs, context], axis=-1)
