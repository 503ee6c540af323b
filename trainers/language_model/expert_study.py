"""What the experts of a language model have learnt, over a corpus.

B: lines    T: length    K: experts per token
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from language_model.corpora import open_lines
from language_model.model import LanguageModel
from trainers.engine.expert_study import (
    check_has_experts,
    join_subwords,
    routed_tokens,
    routing_function,
    study_routed,
)
from trainers.language_model.folder import LmFolder
from trainers.language_model.presets import LmConfig
from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID
from translation.text.text_files import read_labels

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
    read = open_studied(model_dir, test, labels)
    log(f"Routing {len(read.lines):,} lines of {read.corpus} ...")
    routed = route_lines(read.model, read.vocabulary, read.lines, read.label_of)
    subwords = read.config.vocabulary_kind == "subwords"
    join = join_subwords if subwords else " ".join
    return study_routed(read.folder, routed, read.corpus, join, log)


class Studied(NamedTuple):
    """A trained model with experts, and the lines on which it is studied."""

    folder: LmFolder
    config: LmConfig
    model: LanguageModel
    vocabulary: object  # `Tokenizer` or `WordVocabulary`
    corpus: str  # its name
    lines: list  # of str
    label_of: list | None  # a label for each line


def open_studied(model_dir, test=None, labels=None):
    """Reads a trained model and a corpus.

    Args:
        model_dir, test, labels: As of `study_experts`.

    Returns:
        `Studied`.

    Raises:
        As `study_experts`.
    """
    folder = LmFolder(model_dir)
    config = folder.load_config()
    corpus = open_lines(test or config.test, "test")
    lines = list(corpus.read())
    label_of = read_labels(labels, len(lines))
    model, vocabulary = folder.load_model(config)
    check_has_experts(model, folder)
    return Studied(
        folder, config, model, vocabulary, corpus.name, lines, label_of
    )


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
    route = routing_function(model, _call)
    routed = routed_tokens(model)
    encoded = vocabulary.encode(lines)
    order = sorted(range(len(lines)), key=lambda n: len(encoded[n]))
    for begin in range(0, len(order), _ROWS):
        numbers = order[begin : begin + _ROWS]
        longest = len(encoded[numbers[-1]]) + 1
        ids_BT = np.full((len(numbers), longest), PAD_ID, np.int32)
        for row, number in enumerate(numbers):
            read = [BOS_ID, *encoded[number]]
            ids_BT[row, : len(read)] = read
        for name, (experts, gates) in route(tf.constant(ids_BT)).items():
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


def _call(model, ids):
    model.features(ids)
