"""The decoder: its first LSTM asks the attention and is told by it.

B: batch    S: source length    T: target length    D: depth    N: hypotheses
"""

import dataclasses

import keras
from keras import ops

from moe_keras import ProjectedLSTM
from translation.model.attentive_lstm import AttentiveLSTM
from translation.model.config import TranslatorConfig
from translation.model.layers import attention_layer, lstm_block, moe_block


@keras.saving.register_keras_serializable(package="translation")
class Decoder(keras.layers.Layer):
    """Writes the target, one subword after the other (paper, appendix E).

    The first LSTM feeds the attention and receives its output at the next
    step. With `context_to="all"` the current context also joins the input of
    every later LSTM, as in GNMT. With `readout` a linear map of it is added to
    the outputs (as in equation 5 of arXiv:1508.04025, without the tanh): a
    short way from the loss to the attention, which then learns to align
    within the first epochs.

    Args:
        config: `TranslatorConfig`, or its fields as a dict.

    Call arguments:
        inputs: Tensor of shape `(B, T, D)`, embedded target subwords.
        encoded: Tensor of shape `(B, S, D)`, what the encoder returned.
        source_mask: Boolean tensor `(B, S)`, False at padding.
        mask: Boolean tensor `(B, T)`, False at padding.
        training: bool. Dropout, gating noise and balancing losses.

    Returns:
        Tensor of shape `(B, T, D)`.

    Example:

    >>> import numpy as np
    >>> config = TranslatorConfig(depth=4, lstm_units=4, num_experts=2)
    >>> inputs, encoded = np.ones((2, 3, 4), "f"), np.ones((2, 5, 4), "f")
    >>> tuple(Decoder(config)(inputs, encoded, np.ones((2, 5), bool)).shape)
    (2, 3, 4)
    """

    def __init__(self, config, **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, dict):
            config = TranslatorConfig(**config)
        self.config = config
        self.supports_masking = True
        self.attentive = AttentiveLSTM(
            config.lstm_units,
            config.projection_dim,
            attention_layer(config),
            name="decoder_lstm_1",
        )
        self.dropout = keras.layers.Dropout(config.dropout)
        self.readout = (
            keras.layers.Dense(config.depth, use_bias=False, name="readout")
            if config.readout
            else None
        )
        self.blocks = []
        for place in range(1, config.decoder_layers + 1):
            if place > 1:
                self.blocks.append(lstm_block(config, f"decoder_lstm_{place}"))
            if place in config.decoder_moe_after:
                self.blocks.append(moe_block(config, f"decoder_moe_{place}"))

    def build(self, inputs_shape, encoded_shape):
        memory_shape = (encoded_shape, encoded_shape, encoded_shape[:2])
        self.attentive.build(inputs_shape, memory_shape)
        if self.readout:
            self.readout.build(encoded_shape)
        for block in self.blocks:
            context = encoded_shape if self._takes_context(block) else None
            block.build(inputs_shape, context)

    def call(
        self, inputs, encoded, source_mask=None, mask=None, training=False
    ):
        memory = self.attentive.attention.prepare(encoded, source_mask)
        outputs, contexts = self.attentive(
            inputs, memory, initial_state=self._first_state(memory)
        )
        outputs = inputs + self.dropout(outputs, training=training)
        for block in self.blocks:
            context = contexts if self._takes_context(block) else None
            outputs = block(
                outputs, context=context, mask=mask, training=training
            )
        return self._with_readout(outputs, contexts, training)

    def start(self, encoded, source_mask):
        """Memory and first state of decoding, one hypothesis a sentence.

        Args:
            encoded: Tensor `(B, S, D)`.
            source_mask: Boolean tensor `(B, S)`.

        Returns:
            The attention's memory, which stays the same while a sentence is
            decoded, and the state that `step` takes, each a nest of tensors
            with a leading `B`.
        """
        memory = self.attentive.attention.prepare(encoded, source_mask)
        batch = ops.shape(encoded)[0]
        upper = [
            block.layer.initial_state(batch)
            for block in self.blocks
            if isinstance(block.layer, ProjectedLSTM)
        ]
        return memory, {"first": self._first_state(memory), "upper": upper}

    def step(self, inputs, state, memory):
        """One subword further.

        Args:
            inputs: Tensor `(N, D)`, the embedded last subwords.
            state: As `start` or the last `step` returned it.
            memory: As `start` returned it, a row for each hypothesis.

        Returns:
            Outputs `(N, D)`, alignment `(N, S)` and the new state.
        """
        with keras.name_scope(self.attentive.name):  # for profiles
            outputs, context, alignment, first = self.attentive.step(
                inputs, state["first"], memory
            )
        outputs = inputs + outputs
        states = iter(state["upper"])
        upper = []
        for block in self.blocks:
            if isinstance(block.layer, ProjectedLSTM):
                joined = context if self._takes_context(block) else None
                outputs, new = block.step(outputs, next(states), joined)
                upper.append(new)
            else:
                outputs = block(outputs)
        outputs = self._with_readout(outputs, context)
        return outputs, alignment, {"first": first, "upper": upper}

    def _first_state(self, memory):
        """Zeros, and the context that an LSTM at zero would ask for.

        Without it the first subword could not depend on the source.
        """
        hidden, cell, _ = self.attentive.initial_state(memory)
        context, _ = self.attentive.attention(hidden, memory)
        return [hidden, cell, context]

    def _with_readout(self, outputs, context, training=False):
        if self.readout is None:
            return outputs
        return outputs + self.dropout(self.readout(context), training=training)

    def _takes_context(self, block):
        is_lstm = isinstance(block.layer, ProjectedLSTM)
        return is_lstm and self.config.context_to == "all"

    def compute_output_shape(self, inputs_shape, encoded_shape=None):
        return inputs_shape

    def get_config(self):
        config = dataclasses.asdict(self.config)
        return {**super().get_config(), "config": config}
