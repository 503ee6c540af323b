"""The experts of each subword of a text and its translation.

B: sentences    S: source length    T: target length    X: S or T
M: MoE layers    K: experts per token, the most of any layer
"""

from typing import Any, NamedTuple

import tensorflow as tf

from translation.search.ensemble import keras_models, uncounted
from translation.serving.token_routing import (
    TokenRouting,
    collected_calls,
    layer_names,
    routings_of,
    token_routing,
)
from translation.text.special_ids import BOS_ID, PAD_ID


class BatchRouting(NamedTuple):
    """The routing of sources and of their translations."""

    source: TokenRouting
    target: TokenRouting  # of the decoder's steps that score each subword
    alignments: Any  # (B, T, S) float32, attention of these steps


def route_batch(translator, source_ids, target_ids):
    """Routes sources and given translations through a model.

    Translations go through the same `step` as in a search, so the experts of
    a translation that the search has found are those that wrote it.

    Args:
        translator: A translation model, see `search/translate.py`. MoE layers
            are found in Keras models, and in ensembles of such.
        source_ids: `(B, S)` int32, each ending in eos, padded with 0.
        target_ids: `(B, T)` int32, likewise.

    Returns:
        `BatchRouting`.

    Example, of a translator that has yet to be trained:

    >>> from translation.model.config import TranslatorConfig
    >>> from translation.model.translator import Translator
    >>> config = TranslatorConfig(
    ...     vocab_size=9, depth=8, lstm_units=8, num_experts=4,
    ...     expert_hidden_dim=8, attention_units=8,
    ... )
    >>> model = Translator(config)
    >>> model.build()
    >>> routing = route_batch(model, [[5, 6, 2]], [[7, 2]])
    >>> routing.source.layers, tuple(routing.source.expert_index.shape)
    (['encoder_moe_2_layer'], (1, 3, 1, 2))
    >>> routing.target.layers, tuple(routing.target.gate.shape)
    (['decoder_moe_1_layer'], (1, 2, 1, 2))
    """
    source_ids = tf.convert_to_tensor(source_ids, tf.int32)
    target_ids = tf.convert_to_tensor(target_ids, tf.int32)
    # The first step tells which layers there are, so there has to be one.
    length = tf.shape(target_ids)[1]
    read_ids = tf.pad(target_ids, [[0, 0], [1, 0]], constant_values=BOS_ID)
    read_TB = tf.transpose(read_ids[:, : tf.maximum(length, 1)])
    models = keras_models(translator)
    names = layer_names(models)

    with uncounted(translator):
        with collected_calls(models) as source_calls:
            memory, state = translator.encode(source_ids)
        state, target_calls, steps = _step_through(
            translator, models, memory, state, read_TB
        )
    *routings, alignment_TBS = [
        tf.transpose(steps_TB, [1, 0, 2])[:, :length] for steps_TB in steps
    ]
    is_real_BT = tf.not_equal(target_ids, PAD_ID)
    return BatchRouting(
        token_routing(
            source_calls,
            routings_of(source_calls),
            tf.not_equal(source_ids, PAD_ID),
            names,
        ),
        token_routing(target_calls, routings, is_real_BT, names),
        tf.where(is_real_BT[..., tf.newaxis], alignment_TBS, 0.0),
    )


def _step_through(translator, models, memory, state, read_TB):
    """Steps of the decoder, over the tokens that it reads.

    Returns:
        The last state, the calls of MoE layers in the first step, and of all
        steps, stacked: experts and gates of each of these calls, alignments.
    """

    def step(ids_B, state):
        with collected_calls(models) as calls:
            _, state = translator.step(ids_B, state, memory)
        found = routings_of(calls)
        alignment_BS = tf.cast(translator.alignment(state), tf.float32)
        return state, calls, [*found, alignment_BS]

    length, size = tf.shape(read_TB)[0], tf.shape(read_TB)[1]
    state, calls, found = step(read_TB[0], state)
    arrays = [
        tf.TensorArray(x.dtype, length, element_shape=[None, x.shape[-1]])
        for x in found
    ]

    def write(time, found):
        # A layer may see the tokens of a step as (B, D) or as (B, 1, D).
        rows = [tf.reshape(x, [size, tf.shape(x)[-1]]) for x in found]
        return [a.write(time, x) for a, x in zip(arrays, rows, strict=True)]

    def advance(time, state, arrays_before):
        arrays[:] = arrays_before
        state, _, found = step(read_TB[time], state)
        return time + 1, state, write(time, found)

    _, state, arrays = tf.while_loop(
        lambda time, *_: time < length,
        advance,
        (tf.constant(1), state, write(0, found)),
    )
    return state, calls, [array.stack() for array in arrays]
