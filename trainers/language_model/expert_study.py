"""What the experts of a language model have learnt, over a corpus.

B: lines    T: length    K: experts per token
"""

import numpy as np
import tensorflow as tf

from language_model.corpora import open_lines
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
from trainers.language_model.folder import LmFolder
from trainers.language_model.report import read_labels
from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID

# Subwords are shown as SentencePiece writes them: this begins a word.
_WORD_BEGIN = "\u2581"
_ROWS = 64  # lines that are routed together


def study_experts(model_dir, test=None, labels=None, log=print):
    """Studies what the experts of a trained model have learnt.

    Each line of a corpus is read alone. The factor "next token" is the one
    that the model is to tell there.

    Args:
        model_dir: str or path of a folder with a trained model. Gets
            `experts.json` and `experts.md`.
        test: str or None. A corpus; None takes that of the configuration.
        labels: str or None. File with a label for each line.
        log: Function of one line of text.

    Returns:
        List of `moe_keras.analysis.LayerStudy`.

    Raises:
        CorpusError: if the corpus or the labels cannot be used.
        FolderError, CheckpointError: if there is no such model.
        ValueError: if the model has no MoE layer.
    """
    folder = LmFolder(model_dir)
    config = folder.load_config()
    corpus = open_lines(test or config.test, "test")
    lines = list(corpus.read())
    label_of = None if labels is None else read_labels(labels, len(lines))
    model, vocabulary = folder.load_model(config)
    if not routing_layers(model):
        raise ValueError(f"The model in {folder.path} has no MoE layer.")
    log(f"Routing {len(lines):,} lines of {corpus.name} ...")
    studies = []
    routed = route_lines(model, vocabulary, lines, label_of)
    join = _join_subwords if config.vocabulary_kind == "subwords" else " ".join
    for name, tokens in routed.items():
        log(f"Studying {name} ...")
        studies.append(study_layer(name, tokens, Extent(join=join)))
    for path in write_studies(folder.path, studies, corpus.name):
        log(f"Wrote {path}")
    return studies


def route_lines(model, vocabulary, lines, label_of=None):
    """Let a language model route lines, each alone.

    Args:
        model: `LanguageModel`.
        vocabulary: `Tokenizer` or `WordVocabulary`.
        lines: List of str.
        label_of: List of a label for each line, or None.

    Returns:
        dict of `RoutedTokens`, by the name of the layer.
    """
    route = tf.function(
        lambda ids: _route(model, ids),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    routed = {
        layer.name: RoutedTokens(layer.num_experts)
        for layer in routing_layers(model)
    }
    encoded = vocabulary.encode(lines)
    order = sorted(range(len(lines)), key=lambda n: len(encoded[n]))
    for begin in range(0, len(order), _ROWS):
        numbers = order[begin : begin + _ROWS]
        longest = len(encoded[numbers[-1]]) + 1
        ids_BT = np.full((len(numbers), longest), PAD_ID, np.int32)
        for row, number in enumerate(numbers):
            read = [BOS_ID, *encoded[number]]
            ids_BT[row, : len(read)] = read
        for name, (expert_BTK, gate_BTK) in route(ids_BT).items():
            experts, gates = expert_BTK.numpy(), gate_BTK.numpy()
            for row, number in enumerate(numbers):
                length = len(encoded[number]) + 1
                told = [*encoded[number], EOS_ID]
                routed[name].add(
                    vocabulary.pieces(ids_BT[row, :length]),
                    experts[row, :length],
                    gates[row, :length],
                    label=label_of and label_of[number],
                    **{"next token": vocabulary.pieces(told)},
                )
    return routed


def _route(model, ids):
    with uncounted(model), collected_routing(model) as routings:
        model.features(ids)
    return {r.layer.name: (r.expert_index, r.gate) for r in routings}


def _join_subwords(pieces):
    return "".join(pieces).replace(_WORD_BEGIN, " ")
