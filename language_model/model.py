"""The language model as a Keras model.

B: batch    T: time    D: depth    V: vocabulary
"""

import dataclasses
import itertools

import keras
from keras import ops

from language_model.config import LanguageModelConfig
from language_model.softmax import full_nll
from moe_keras import ProjectedLSTM
from moe_keras.quantization.keras_model import FewBitsModel
from translation.model.embedding import SubwordEmbedding
from translation.model.layers import moe_block
from translation.model.residual import Residual
from translation.text.special_ids import PAD_ID


@keras.saving.register_keras_serializable(package="language_model")
class LanguageModel(FewBitsModel, keras.Model):
    """Embedding, LSTMs and mixtures of experts, softmax (appendix C).

    Every layer but the softmax has dropout on its output; every LSTM and MoE
    stands in a residual block, `x + dropout(layer(x))`, and a sigmoid follows
    the MoE.

    Args:
        config: `LanguageModelConfig`, or its fields as a dict.
        **kwargs: `quantization`, see
            `moe_keras.quantization.keras_model.FewBitsModel`, and arguments of
            every Keras model.

    Call arguments:
        ids: int32 tensor `(B, T)`, padded on the right with 0: at each place
            the subword before the one that is to be told.
        state: State that a text before these left, from `features` or
            `initial_state`; None begins anew.
        training: bool. Dropout, gating noise and balancing losses.

    Returns:
        Logits of the next subword at each place, float32 `(B, T, V)`.

    Example:

    >>> import numpy as np
    >>> config = LanguageModelConfig(
    ...     vocab_size=9, depth=4, lstm_units=4, num_experts=4
    ... )
    >>> tuple(LanguageModel(config)(np.array([[1, 5, 7]])).shape)
    (1, 3, 9)
    """

    def __init__(self, config, **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, dict):
            config = LanguageModelConfig(**config)
        self.config = config
        self.body = Body(config, name="body")
        self.softmax = (
            self.body.embedding
            if config.share_softmax
            else SubwordEmbedding(
                config.vocab_size, config.depth, scores=True, name="softmax"
            )
        )

    def build(self, input_shape=None):
        self._build_once()

    def _build_once(self):
        for layer in (self.body, self.softmax):
            if not layer.built:
                layer.build()
                layer.built = True

    def call(self, ids, state=None, training=False):
        outputs, _ = self.body(ids, state=state, training=training)
        return self.softmax.logits(outputs)

    def features(self, ids, state=None, training=False):
        """Compute what the softmax reads, for callers that score few subwords.

        Args:
            ids, state, training: As in the call.

        Returns:
            Tensor `(B, T, D)` and the state behind the last subword.
        """
        self._build_once()
        return self.body(ids, state=state, training=training)

    def nll(self, outputs, targets, chunk=None):
        """Negative log likelihoods of targets by the full softmax.

        Args:
            outputs: Tensor `(N, D)`, of `features`.
            targets: int32 tensor `(N,)`.
            chunk: int or None. So many tokens at a time, see `full_nll`.

        Returns:
            Tensor `(N,)`, float32 (or float64 under that policy), in nats.
        """
        kernel = ops.cast(self.softmax.table, outputs.dtype)
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        bias = ops.cast(self.softmax.bias, wide)
        return full_nll(outputs, targets, kernel, bias, chunk)

    def initial_state(self, batch_size):
        """The state before any text: a list of `[h, c]` for each LSTM."""
        return self.body.initial_state(batch_size)

    def step(self, ids, state):
        """Scores the next subword of each text.

        Args:
            ids: int32 tensor `(B,)`, the last subwords.
            state: From `initial_state`, `features` or the last step.

        Returns:
            Logits `(B, V)` and the new state.
        """
        self._build_once()
        outputs, state = self.body.step(ids, state)
        return self.softmax.logits(outputs), state

    def get_config(self):
        return {
            **super().get_config(),
            "config": dataclasses.asdict(self.config),
        }


@keras.saving.register_keras_serializable(package="language_model")
class Body(keras.layers.Layer):
    """All of a language model but its softmax.

    Args:
        config: `LanguageModelConfig`, or its fields as a dict.

    Call arguments:
        ids, state, training: As of `LanguageModel`.

    Returns:
        Tensor `(B, T, D)` and the state, a list of `[h, c]` for each LSTM.

    Example:

    >>> import numpy as np
    >>> config = LanguageModelConfig(vocab_size=9, depth=4, lstm_units=4)
    >>> outputs, state = Body(config)(np.array([[1, 5, 7]]))
    >>> tuple(outputs.shape), len(state)
    ((1, 3, 4), 2)
    """

    def __init__(self, config, **kwargs):
        super().__init__(**kwargs)
        if isinstance(config, dict):
            config = LanguageModelConfig(**config)
        self.config = config
        self.embedding = SubwordEmbedding(
            config.vocab_size,
            config.depth,
            config.dropout,
            scores=config.share_softmax,
            name="embedding",
        )
        self.blocks = [
            _block(config, kind, f"{kind}_{number}")
            for number, kind in enumerate(config.layers, 1)
        ]

    def build(self, input_shape=None):
        self.embedding.build()
        self.embedding.built = True
        for block in self.blocks:
            block.build((None, None, self.config.depth))
            block.built = True

    def call(self, ids, state=None, training=False):
        mask = ops.not_equal(ids, PAD_ID)
        if state is None:
            state = self.initial_state(ops.shape(ids)[0])
        before, after = iter(state), []
        x = self.embedding(ids, training=training)
        for block, kind in zip(self.blocks, self.config.layers, strict=True):
            if kind == "lstm":
                outputs, *left = block.layer(
                    x,
                    initial_state=next(before),
                    mask=mask,
                    training=training,
                )
                x = x + block.finish(outputs, training)
                after.append(left)
            else:
                x = block(x, mask=mask, training=training)
        return x, after

    def step(self, ids, state):
        """One step of each text: outputs `(B, D)` and the new state."""
        before, after = iter(state), []
        x = self.embedding(ids)
        for block, kind in zip(self.blocks, self.config.layers, strict=True):
            if kind == "lstm":
                x, left = block.step(x, next(before))
                after.append(left)
            else:
                x = block(x)
        return x, after

    def initial_state(self, batch_size):
        """Zeros `[h, c]` for each LSTM."""
        return [
            block.layer.initial_state(batch_size)
            for block, kind in zip(self.blocks, self.config.layers, strict=True)
            if kind == "lstm"
        ]

    def get_config(self):
        return {
            **super().get_config(),
            "config": dataclasses.asdict(self.config),
        }


def _block(config, kind, name):
    if kind == "moe":
        deep = config.expert_hidden_layers > 1
        return moe_block(config, name, _deep_expert(config) if deep else None)
    layer = ProjectedLSTM(
        config.lstm_units,
        config.projection_dim,
        return_sequences=True,
        return_state=True,
        name="lstm",
    )
    return Residual(layer, config.dropout, name=name)


def _deep_expert(config):
    """A function that makes an expert of several hidden layers.

    All have names of their own: a checkpoint knows weights by their paths.
    """
    numbers = itertools.count(1)

    def make():
        hidden = [
            keras.layers.Dense(
                config.expert_hidden_dim,
                activation="relu",
                use_bias=config.expert_bias,
                name=f"hidden_{depth}",
            )
            for depth in range(1, config.expert_hidden_layers + 1)
        ]
        last = keras.layers.Dense(
            config.depth, use_bias=config.expert_bias, name="output"
        )
        name = f"expert_{next(numbers)}"
        return keras.Sequential([*hidden, last], name=name)

    return make
