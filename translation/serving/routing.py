"""The experts that each subword is sent to, in every MoE layer.

B: sentences    S: source length    T: target length    X: S or T
M: MoE layers    K: experts per token, the most of any layer
"""

import contextlib
from typing import Any, NamedTuple

import tensorflow as tf

from moe_keras import monitoring
from moe_keras.monitoring.layers import by_name, observed_layers
from translation.search.ensemble import keras_models, uncounted
from translation.text.special_ids import BOS_ID, PAD_ID


class TokenRouting(NamedTuple):
    """Experts and gates of tokens, in the MoE layers of one side.

    A layer with fewer experts per token than K has -1 and 0 in the other
    places, and so has padding.
    """

    layers: list  # of M str, names in the order in which tokens pass
    num_experts: list  # of M int
    expert_index: Any  # (B, X, M, K) int32, highest gate first; -1 for none
    gate: Any  # (B, X, M, K) float32, 0 for none


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
    names = _names(models)

    with uncounted(translator):
        with _collected(models) as source_calls:
            memory, state = translator.encode(source_ids)
        state, target_calls, steps = _step_through(
            translator, models, memory, state, read_TB
        )
    *routings, alignment_TBS = [
        tf.transpose(steps_TB, [1, 0, 2])[:, :length] for steps_TB in steps
    ]
    is_real_BT = tf.not_equal(target_ids, PAD_ID)
    return BatchRouting(
        _routing(
            source_calls,
            [x for c in source_calls for x in (c.expert_index, c.gate)],
            tf.not_equal(source_ids, PAD_ID),
            names,
        ),
        _routing(target_calls, routings, is_real_BT, names),
        tf.where(is_real_BT[..., tf.newaxis], alignment_TBS, 0.0),
    )


def described(side, ids, routing, pieces_of):
    """Names the tensors of one side, with its subwords, for a server.

    Args:
        side: str, `source` or `target`.
        ids: `(B, X)` int32, padded with 0.
        routing: `TokenRouting`.
        pieces_of: Function from ids to the subwords, strings.

    Returns:
        dict of tensors with a leading B, their names prefixed with the side.
    """
    is_real_BX = tf.not_equal(ids, PAD_ID)
    layers_M = tf.constant(routing.layers, tf.string)
    counts_M = tf.constant(routing.num_experts, tf.int32)
    size = tf.shape(ids)[0]
    values = {
        "tokens": tf.where(is_real_BX, pieces_of(ids), ""),
        "lengths": tf.reduce_sum(tf.cast(is_real_BX, tf.int32), axis=1),
        "experts": routing.expert_index,
        "gates": routing.gate,
        "layers": tf.tile(layers_M[tf.newaxis], [size, 1]),
        "num_experts": tf.tile(counts_M[tf.newaxis], [size, 1]),
    }
    return {f"{side}_{name}": value for name, value in values.items()}


def _step_through(translator, models, memory, state, read_TB):
    """Steps of the decoder, over the tokens that it reads.

    Returns:
        The last state, the calls of MoE layers in the first step, and of all
        steps, stacked: experts and gates of each of these calls, alignments.
    """

    def step(ids_B, state):
        with _collected(models) as calls:
            _, state = translator.step(ids_B, state, memory)
        found = [x for c in calls for x in (c.expert_index, c.gate)]
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


def _routing(calls, values, is_real_BX, names):
    """`TokenRouting` of calls: experts and gates of each, in turn."""
    most = max((call.expert_index.shape[-1] for call in calls), default=0)

    def stacked(values, fill, dtype):
        size = tf.concat([tf.shape(is_real_BX), [0, most]], 0)
        parts = [tf.cast(tf.fill(size, fill), dtype)]
        for x_BXK in values:
            missing = most - x_BXK.shape[-1]
            padded = tf.pad(
                tf.cast(x_BXK, dtype),
                [[0, 0], [0, 0], [0, missing]],
                constant_values=fill,
            )
            parts.append(padded[:, :, tf.newaxis])
        stacked_BXMK = tf.concat(parts, axis=2)
        mask = is_real_BX[:, :, tf.newaxis, tf.newaxis]
        return tf.where(mask, stacked_BXMK, tf.cast(fill, dtype))

    return TokenRouting(
        [names[id(call.layer)] for call in calls],
        [call.layer.num_experts for call in calls],
        stacked(values[0::2], -1, tf.int32),
        stacked(values[1::2], 0, tf.float32),
    )


def _names(models):
    """Names of MoE layers, by their ids; members of ensembles are numbered."""
    names = {}
    for number, model in enumerate(models):
        for name, layer in by_name(observed_layers(model)).items():
            full = name if len(models) == 1 else f"{number}/{name}"
            names[id(layer)] = full
    return names


@contextlib.contextmanager
def _collected(models):
    """Context manager: the calls of all MoE layers, model after model."""
    calls = []
    with contextlib.ExitStack() as stack:
        collected = [
            stack.enter_context(monitoring.collected_routing(model))
            for model in models
        ]
        yield calls
    calls += [call for some in collected for call in some]
