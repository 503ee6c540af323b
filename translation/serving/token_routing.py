"""The experts that each subword is sent to, in every MoE layer of a model.

B: texts    X: length    M: MoE layers    K: experts per token, the most of any
layer
"""

import contextlib
from typing import Any, NamedTuple

import tensorflow as tf

from moe_keras import monitoring
from moe_keras.monitoring.layers import by_name, observed_layers
from translation.text.special_ids import PAD_ID


class TokenRouting(NamedTuple):
    """Experts and gates of tokens, in the MoE layers of one side.

    A layer with fewer experts per token than K has -1 and 0 in the other
    places, and so has padding.
    """

    layers: list  # of M str, names in the order in which tokens pass
    num_experts: list  # of M int
    expert_index: Any  # (B, X, M, K) int32, highest gate first; -1 for none
    gate: Any  # (B, X, M, K) float32, 0 for none


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


def token_routing(calls, values, is_real_BX, names):
    """Puts what MoE layers chose side by side.

    Args:
        calls: List of `CallRecord`, a call of each layer.
        values: List of tensors `(B, X, K)` as of `routings_of`.
        is_real_BX: bool tensor `(B, X)`, False at padding.
        names: dict of `layer_names`.

    Returns:
        `TokenRouting`.
    """
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


def routings_of(calls):
    """Experts and gates of each call, in turn."""
    return [x for call in calls for x in (call.expert_index, call.gate)]


def layer_names(models):
    """Names of MoE layers, by their ids; members of ensembles are numbered."""
    names = {}
    for number, model in enumerate(models):
        for name, layer in by_name(observed_layers(model)).items():
            full = name if len(models) == 1 else f"{number}/{name}"
            names[id(layer)] = full
    return names


@contextlib.contextmanager
def collected_calls(models):
    """Context manager: the calls of all MoE layers, model after model."""
    calls = []
    with contextlib.ExitStack() as stack:
        collected = [
            stack.enter_context(monitoring.collected_routing(model))
            for model in models
        ]
        yield calls
    calls += [call for some in collected for call in some]
