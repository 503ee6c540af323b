"""What the experts of any trained model have learnt, over a corpus.

B: batch    T: length    K: experts per token
"""

import tensorflow as tf

from moe_keras.analysis import (
    Extent,
    RoutedTokens,
    study_layer,
    write_studies,
)
from moe_keras.monitoring import (
    collected_routing,
    routing_layers,
    uncounted,
)

_WORD_BEGIN = "\u2581"  # how SentencePiece writes the space before a word


def study_routed(folder, routed, corpus_name, join, log=print):
    """Studies each MoE layer of a model, and writes what is found.

    Args:
        folder: `RunFolder` of the model. Gets `experts.json` and `experts.md`.
        routed: dict of `RoutedTokens`, by the name of the layer.
        corpus_name: str. For the files.
        join: Function of a list of tokens that returns the text they are of.
        log: Function of one line of text.

    Returns:
        List of `moe_keras.analysis.LayerStudy`.
    """
    studies = []
    for name, tokens in routed.items():
        log(f"Studying {name} ...")
        studies.append(study_layer(name, tokens, Extent(join=join)))
    for path in write_studies(folder.path, studies, corpus_name):
        log(f"Wrote {path}")
    return studies


def check_has_experts(model, folder):
    """Refuses a model without MoE layers.

    Raises:
        ValueError: naming the folder of the model.
    """
    if not routing_layers(model):
        raise ValueError(f"The model in {folder.path} has no MoE layer.")


def routed_tokens(model):
    """Makes an empty `RoutedTokens` for each MoE layer, by its name."""
    return {
        layer.name: RoutedTokens(layer.num_experts)
        for layer in routing_layers(model)
    }


def routing_function(model, call):
    """Makes a graph that calls a model and returns where its tokens went.

    The layers do not count these tokens.

    Args:
        model: A built Keras model.
        call: Function of (model, batch) that calls the model.

    Returns:
        Function of a batch. It returns a dict by the name of the layer: expert
        indices `(B, T, K)` and gates `(B, T, K)`, arrays.
    """

    def eagerly(batch):
        with uncounted(model), collected_routing(model) as routings:
            call(model, batch)
        return {r.layer.name: (r.expert_index, r.gate) for r in routings}

    graph = tf.function(eagerly, reduce_retracing=True, autograph=False)

    def route(batch):
        return {
            name: (expert_BTK.numpy(), gate_BTK.numpy())
            for name, (expert_BTK, gate_BTK) in graph(batch).items()
        }

    return route


def join_subwords(pieces):
    """Writes subwords of SentencePiece as text."""
    return "".join(pieces).replace(_WORD_BEGIN, " ")
