"""The translator as a Keras model.

B: batch    S: source length    T: target length    V: vocabulary
N: hypotheses
"""

import dataclasses

import keras
from keras import ops

from moe_keras.quantization.keras_model import FewBitsModel
from translation.model.config import TranslatorConfig
from translation.model.decoder import Decoder
from translation.model.embedding import SubwordEmbedding
from translation.model.encoder import Encoder
from translation.text.special_ids import PAD_ID


@keras.saving.register_keras_serializable(package="translation")
class Translator(FewBitsModel, keras.Model):
    """GNMT with mixtures of experts (paper, section 5.3 and appendix E).

    Args:
        config: `TranslatorConfig`, or its fields as a dict.
        **kwargs: `quantization`, see
            `moe_keras.quantization.keras_model.FewBitsModel`, and arguments of
            every Keras model.

    Call arguments:
        inputs: dict of integer tensors, padded on the right with 0: `source`
            `(B, S)`, each sentence ending in the end mark, and `target_in`
            `(B, T)`, beginning with the start mark.
        training: bool. Dropout, gating noise and balancing losses.

    Returns:
        Logits of the next subword at each place, float32 `(B, T, V)`.

    Example:

    >>> import numpy as np
    >>> config = TranslatorConfig(vocab_size=9, depth=4, lstm_units=4)
    >>> ids = np.array([[4, 5, 2]])
    >>> logits = Translator(config)({"source": ids, "target_in": ids})
    >>> tuple(logits.shape)
    (1, 3, 9)
    """

    def __init__(self, config, **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, dict):
            config = TranslatorConfig(**config)
        self.config = config
        self.target_embedding = self._embedding(
            "target_embedding", scores=config.share_softmax
        )
        self.source_embedding = (
            self.target_embedding
            if config.share_embeddings
            else self._embedding("source_embedding")
        )
        self.softmax = (
            self.target_embedding
            if config.share_softmax
            else self._embedding("softmax", scores=True)
        )
        self.source_word_dropout = _word_dropout(config.source_word_dropout)
        self.target_word_dropout = _word_dropout(config.target_word_dropout)
        self.encoder = Encoder(config, name="encoder")
        self.decoder = Decoder(config, name="decoder")

    def _embedding(self, name, scores=False):
        return SubwordEmbedding(
            self.config.vocab_size,
            self.config.depth,
            self.config.dropout,
            scores,
            name=name,
        )

    def build(self, input_shape=None):
        embedded = (None, None, self.config.depth)
        for table in (
            self.target_embedding,
            self.source_embedding,
            self.softmax,
        ):
            if not table.built:
                table.build()
                table.built = True
        self.encoder.build(embedded)
        self.decoder.build(embedded, embedded)
        self.encoder.built = self.decoder.built = True

    def call(self, inputs, training=False):
        encoded, source_mask = self._encode(inputs["source"], training)
        target_mask = ops.not_equal(inputs["target_in"], PAD_ID)
        embedded = self.target_embedding(inputs["target_in"], training=training)
        if self.target_word_dropout:
            embedded = self.target_word_dropout(embedded, training=training)
        outputs = self.decoder(
            embedded,
            encoded,
            source_mask=source_mask,
            mask=target_mask,
            training=training,
        )
        return self.softmax.logits(outputs)

    def encode(self, source):
        """Reads source sentences, for decoding.

        Args:
            source: Integer tensor `(B, S)`, as in the call.

        Returns:
            Memory, which no step changes, and the state before the first
            subword: two nests of tensors with a leading `B`.
        """
        encoded, mask = self._encode(source)
        memory, layers = self.decoder.start(encoded, mask)
        alignment = ops.zeros_like(memory.bias)
        return memory, {"layers": layers, "alignment": alignment}

    def step(self, ids, state, memory):
        """Scores the next subword of each hypothesis.

        Args:
            ids: int32 tensor `(N,)`, the last subwords.
            state: Nest with a leading `N`, from `encode` or the last step.
            memory: Nest with a leading `N`, from `encode`.

        Returns:
            Logits `(N, V)` and the new state.
        """
        outputs, alignment, layers = self.decoder.step(
            self.target_embedding(ids), state["layers"], memory
        )
        logits = self.softmax.logits(outputs)
        return logits, {"layers": layers, "alignment": alignment}

    @staticmethod
    def alignment(state):
        """Attention `(N, S)` of the last step."""
        return state["alignment"]

    def _encode(self, source, training=False):
        mask = ops.not_equal(source, PAD_ID)
        embedded = self.source_embedding(source, training=training)
        if self.source_word_dropout:
            embedded = self.source_word_dropout(embedded, training=training)
        return self.encoder(embedded, mask=mask, training=training), mask

    def get_config(self):
        config = dataclasses.asdict(self.config)
        return {**super().get_config(), "config": config}


def _word_dropout(rate):
    """Leaves out whole subwords of embedded sentences `(B, S, D)`, or None."""
    return (
        keras.layers.Dropout(rate, noise_shape=(None, None, 1))
        if rate
        else None
    )
