"""The encoder: residual LSTM layers with an MoE layer between them.

B: batch    S: source length    D: depth
"""

import dataclasses

import keras

from translation.model.config import TranslatorConfig
from translation.model.layers import bidirectional_block, lstm_block, moe_block


@keras.saving.register_keras_serializable(package="translation")
class Encoder(keras.layers.Layer):
    """Reads embedded source sentences.

    Args:
        config: `TranslatorConfig`, or its fields as a dict.

    Call arguments:
        inputs: Tensor of shape `(B, S, D)`, embedded source subwords.
        mask: Boolean tensor `(B, S)`, False at padding.
        training: bool. Dropout, gating noise and balancing losses.

    Returns:
        Tensor of shape `(B, S, D)`.

    Example:

    >>> import numpy as np
    >>> config = TranslatorConfig(depth=4, lstm_units=4, num_experts=2)
    >>> inputs, mask = np.ones((2, 3, 4), "float32"), np.ones((2, 3), bool)
    >>> tuple(Encoder(config)(inputs, mask=mask).shape)
    (2, 3, 4)
    """

    def __init__(self, config, **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, dict):
            config = TranslatorConfig(**config)
        self.config = config
        self.supports_masking = True
        self.blocks = []
        for place in range(1, config.encoder_layers + 1):
            first = place == 1 and config.bidirectional
            make = bidirectional_block if first else lstm_block
            self.blocks.append(make(config, f"encoder_lstm_{place}"))
            if place in config.encoder_moe_after:
                self.blocks.append(moe_block(config, f"encoder_moe_{place}"))

    def build(self, input_shape):
        for block in self.blocks:
            block.build(input_shape)

    def call(self, inputs, mask=None, training=False):
        outputs = inputs
        for block in self.blocks:
            outputs = block(outputs, mask=mask, training=training)
        return outputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = dataclasses.asdict(self.config)
        return {**super().get_config(), "config": config}
